// Kernels compile on the browser's own threads, several at a time, while weights still come and the page goes on.
//
// WebGPU has createComputePipelineAsync for that, and wgpu calls createComputePipeline, which has the GPU's one process do
// nothing else until it is through, drawing this page included. So what that returns here is a stand-in, which becomes a
// pipeline when it is compiled, or at the latest when it is first used.

const compiling = new Set();

// Where there is no WebGPU there is nothing to compile.
if (globalThis.GPUDevice) {
  const { createComputePipeline, createComputePipelineAsync } = GPUDevice.prototype;
  const { setPipeline } = GPUComputePassEncoder.prototype;

  GPUDevice.prototype.createComputePipeline = function (descriptor) {
    const kernel = { pipeline: null, now: () => createComputePipeline.call(this, descriptor) };
    const compiled = createComputePipelineAsync.call(this, descriptor)
      // What went wrong is told when it goes wrong again, at its first use.
      .then((pipeline) => (kernel.pipeline ??= pipeline), () => {})
      .finally(() => compiling.delete(compiled));
    compiling.add(compiled);
    return kernel;
  };

  GPUComputePassEncoder.prototype.setPipeline = function (kernel) {
    setPipeline.call(this, (kernel.pipeline ??= kernel.now()));
  };
}

/** Waits for all that is being compiled. */
export const compiled = () => Promise.all(compiling);
