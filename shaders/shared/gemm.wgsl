// The tiled product that matmul and conv2d share, by the device it is for. `gemm_plain` says what hooks the op defines.
#ifdef JOIN
#import gemm_join
#elifdef ROWS
#import gemm_rows
#elifdef COOP
#import gemm_coop
#else
#import gemm_plain
#endif
