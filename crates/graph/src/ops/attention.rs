use super::{Operation, Shapes, ensure};
use crate::caps::Caps;
use crate::cuts::tiles::Matrices;
use crate::error::Error;
use crate::launch::{Context, Lower};
use crate::value::{Elem, ValueId};
use calotype_shaders::{Variant, attention, attention_naive};
use calotype_tensor::Shape;

/// `softmax(scale · q kᵀ) v` for each head (Vaswani et al. 2017, arXiv:1706.03762). Heads lie side by side in the
/// channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// `[B, queries, heads · size]` (axes between may be more: rows are what counts).
    pub q: ValueId,
    /// `[B, keys, heads · size]`.
    pub k: ValueId,
    /// `[B, keys, heads · size]`.
    pub v: ValueId,
    /// How many heads.
    pub heads: usize,
    /// Multiplies the scores; `size^-1/2` as a rule.
    pub scale: f32,
    /// Whether a query sees no later key.
    pub causal: bool,
}

impl Attention {
    /// The largest head there are kernels for.
    pub const MAX_HEAD: usize = 512;
}

impl Operation for Attention {
    const NAME: &'static str = "attention";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.q);
        visit(&mut self.k);
        visit(&mut self.v);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let [q, k, v] = [self.q, self.k, self.v].map(|x| shapes.shape(x));
        let c = q.channels();
        ensure(q.rank() >= 3 && k.rank() >= 3, || format!("takes [B, rows, channels], not {q} and {k}"))?;
        ensure(k == v, || format!("takes keys and values of one shape, not {k} and {v}"))?;
        let same = c == k.channels() && q.dims()[0] == k.dims()[0];
        ensure(same, || format!("queries {q} do not go with keys {k}"))?;
        let divides = self.heads > 0 && c.is_multiple_of(self.heads);
        ensure(divides, || format!("cannot part {c} channels into {} heads", self.heads))?;
        ensure(self.scale >= 0.0, || format!("takes no scale below zero, and not {}", self.scale))?;
        ensure(c / self.heads <= Self::MAX_HEAD, || {
            format!("has heads of {} channels; at most {} are supported", c / self.heads, Self::MAX_HEAD)
        })?;
        Ok((q, Elem::Float))
    }

    fn flops(&self, shapes: &dyn Shapes) -> u64 {
        let (q, k) = (shapes.shape(self.q), shapes.shape(self.k));
        (q.numel() as u64).saturating_mul((k.rows() / k.dims()[0]) as u64).saturating_mul(4)
    }
}

/// A kernel for heads up to a size.
struct Kernel {
    stem: &'static str,
    /// The largest head it holds, in vec4s.
    most: usize,
    /// Rows of queries a workgroup takes.
    rows: usize,
    /// Beyond those of storage.
    defines: &'static [&'static str],
}

/// For any GPU: TEAM threads share a row.
const PLAIN: [Kernel; 6] = [
    plain(10, 64, &["TEAM=1", "SLICE4=10", "KEYS=32", "GROUP=8", "BRING=5"]),
    plain(16, 64, &["TEAM=1", "SLICE4=16", "KEYS=16", "GROUP=8", "BRING=4"]),
    plain(20, 32, &["TEAM=2", "SLICE4=10", "KEYS=16", "GROUP=8", "BRING=5"]),
    plain(40, 16, &["TEAM=4", "SLICE4=10", "KEYS=8", "GROUP=8", "BRING=5"]),
    plain(64, 16, &["TEAM=4", "SLICE4=16", "KEYS=4", "GROUP=4", "BRING=4"]),
    plain(128, 8, &["TEAM=8", "SLICE4=16", "KEYS=2", "GROUP=2", "BRING=4"]),
];

const fn plain(most: usize, rows: usize, defines: &'static [&'static str]) -> Kernel {
    Kernel { stem: "attention", most, rows, defines }
}

/// For processors that run shaders in software. Larger heads would fill their registers many times over.
const ROWS: [Kernel; 4] = [
    rows(10, 128, &["THREADS=64", "HOLD=2", "KEYS=4", "SLICE4=10"]),
    rows(16, 128, &["THREADS=64", "HOLD=2", "KEYS=4", "SLICE4=16"]),
    rows(20, 128, &["THREADS=64", "HOLD=2", "KEYS=4", "SLICE4=20"]),
    rows(40, 64, &["THREADS=32", "HOLD=2", "KEYS=4", "SLICE4=40"]),
];

const fn rows(most: usize, rows: usize, defines: &'static [&'static str]) -> Kernel {
    Kernel { stem: "attention_rows", most, rows, defines }
}

/// For cooperative matrices, by kind: of those for a head, the one with the most rows first.
const COOP: [(Matrices, &[Kernel]); 4] = [
    (
        Matrices::ALL[0],
        &[
            coop(
                12,
                64,
                &["COOP", "SIDE=16", "LANES=32", "WM=4", "FM=1", "FD=3", "FN=2", "BRING=3", "QUADS=4"],
            ),
            coop(
                16,
                64,
                &["COOP", "SIDE=16", "LANES=32", "WM=4", "FM=1", "FD=4", "FN=2", "BRING=4", "QUADS=4"],
            ),
            coop(
                20,
                64,
                &["COOP", "SIDE=16", "LANES=32", "WM=4", "FM=1", "FD=5", "FN=2", "BRING=5", "QUADS=4"],
            ),
            coop(
                40,
                64,
                &["COOP", "SIDE=16", "LANES=32", "WM=4", "FM=1", "FD=10", "FN=2", "BRING=10", "QUADS=4"],
            ),
            coop(
                128,
                16,
                &[
                    "COOP", "SIDE=16", "LANES=32", "WM=4", "FM=1", "FD=8", "FN=2", "BRING=8", "QUADS=4",
                    "TEAM=4",
                ],
            ),
        ],
    ),
    (
        Matrices::ALL[1],
        &[
            coop(
                12,
                64,
                &["COOP", "SIDE=16", "LANES=64", "WM=4", "FM=1", "FD=3", "FN=2", "BRING=2", "QUADS=2"],
            ),
            coop(
                16,
                64,
                &["COOP", "SIDE=16", "LANES=64", "WM=4", "FM=1", "FD=4", "FN=2", "BRING=2", "QUADS=2"],
            ),
            coop(
                20,
                64,
                &["COOP", "SIDE=16", "LANES=64", "WM=4", "FM=1", "FD=5", "FN=2", "BRING=3", "QUADS=2"],
            ),
            coop(
                40,
                64,
                &["COOP", "SIDE=16", "LANES=64", "WM=4", "FM=1", "FD=10", "FN=2", "BRING=5", "QUADS=2"],
            ),
        ],
    ),
    // Software: larger heads would take minutes to compile.
    (
        Matrices::ALL[2],
        &[
            coop(
                10,
                32,
                &["COOP", "SIDE=8", "LANES=8", "WM=4", "FM=1", "FD=5", "FN=4", "BRING=10", "QUADS=8"],
            ),
            coop(
                16,
                32,
                &["COOP", "SIDE=8", "LANES=8", "WM=4", "FM=1", "FD=8", "FN=4", "BRING=16", "QUADS=8"],
            ),
            coop(
                32,
                8,
                &[
                    "COOP", "SIDE=8", "LANES=8", "WM=4", "FM=1", "FD=4", "FN=4", "BRING=8", "QUADS=8",
                    "TEAM=4",
                ],
            ),
        ],
    ),
    (
        Matrices::ALL[3],
        &[
            coop(
                10,
                64,
                &[
                    "COOP", "SIDE=8", "LANES=32", "WM=4", "FM=2", "FD=5", "FN=4", "BRING=3", "QUADS=2",
                    "SCALAR",
                ],
            ),
            coop(
                16,
                64,
                &[
                    "COOP", "SIDE=8", "LANES=32", "WM=4", "FM=2", "FD=8", "FN=4", "BRING=4", "QUADS=2",
                    "SCALAR",
                ],
            ),
            coop(
                20,
                64,
                &[
                    "COOP", "SIDE=8", "LANES=32", "WM=4", "FM=2", "FD=10", "FN=4", "BRING=5", "QUADS=2",
                    "SCALAR",
                ],
            ),
            coop(
                40,
                32,
                &[
                    "COOP", "SIDE=8", "LANES=32", "WM=4", "FM=1", "FD=20", "FN=4", "BRING=10", "QUADS=2",
                    "SCALAR",
                ],
            ),
        ],
    ),
];

const fn coop(most: usize, rows: usize, defines: &'static [&'static str]) -> Kernel {
    Kernel { stem: "attention_coop", most, rows, defines }
}

/// Workgroups that a GPU with tensor cores should be given at least, so that none of its processors idles: 132 on an
/// H200, 128 on an RTX 4090.
const ENOUGH: usize = 128;

/// The kernel for `heads` heads (of all images) of `head4` vec4s and `queries` rows each, stored as the define `a` says.
fn kernel(caps: &Caps, a: &str, heads: usize, queries: usize, head4: usize) -> &'static Kernel {
    let holds = |kernel: &&'static Kernel| head4 <= kernel.most;
    if let Some((_, kernels)) = COOP.iter().find(|(kind, _)| a == "A_F16" && Some(*kind) == caps.matrices) {
        let fits = |kernel: &&'static Kernel| {
            let defines: Vec<&str> = kernel.defines.iter().copied().chain([a]).collect();
            Variant::find(kernel.stem, &defines).is_some_and(|v| v.workgroup_bytes <= caps.workgroup_bytes)
        };
        let most = kernels.iter().find(holds).map_or(0, |k| k.most);
        let able: Vec<_> = kernels.iter().filter(|k| k.most == most).filter(fits).collect();
        let enough = |k: &&&'static Kernel| queries.div_ceil(k.rows) * heads >= ENOUGH;
        if let Some(kernel) = able.iter().find(enough).or(able.last()) {
            return kernel;
        }
    }
    let software = ROWS.iter().find(|k| caps.software && holds(k));
    software.or_else(|| PLAIN.iter().find(holds)).expect("heads are at most 512 channels")
}

impl Lower for Attention {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (q, k) = (cx.shape(self.q), cx.shape(self.k));
        let batch = q.dims()[0];
        let (queries, keys, channels) = (q.rows() / batch, k.rows() / batch, q.channels());
        let head = channels / self.heads;
        // Queries, keys and values may be columns of one value.
        let [(q, q_stride, q_from), (k, k_stride, k_from), (v, v_stride, v_from)] =
            [cx.columns(self.q)?, cx.columns(self.k)?, cx.columns(self.v)?];
        let bindings = vec![q, k, v, cx.bind(out)?];
        // The kernels take powers of two.
        let scale = self.scale * std::f32::consts::LOG2_E;
        if !head.is_multiple_of(4) {
            let params = attention_naive::Params {
                queries: queries as u32,
                keys: keys as u32,
                heads: self.heads as u32,
                head: head as u32,
                batch: batch as u32,
                q_stride: q_stride as u32,
                k_stride: k_stride as u32,
                v_stride: v_stride as u32,
                y_stride: channels as u32,
                q_base: q_from as u32,
                k_base: k_from as u32,
                v_base: v_from as u32,
                scale,
                causal: self.causal.into(),
                ..Default::default()
            };
            let variant = cx.variant("attention_naive", &[cx.a(), "VEC1"])?;
            let groups = cx.flat(batch * queries * channels);
            cx.dispatch(variant, &[], params, bindings, groups);
            return Ok(());
        }
        let kernel = kernel(cx.caps, cx.a(), batch * self.heads, queries, head / 4);
        let params = attention::Params {
            queries: queries as u32,
            keys: keys as u32,
            heads: self.heads as u32,
            head4: (head / 4) as u32,
            q_stride: (q_stride / 4) as u32,
            k_stride: (k_stride / 4) as u32,
            v_stride: (v_stride / 4) as u32,
            y_stride: (channels / 4) as u32,
            q_base: (q_from / 4) as u32,
            k_base: (k_from / 4) as u32,
            v_base: (v_from / 4) as u32,
            scale,
            causal: self.causal.into(),
            ..Default::default()
        };
        let defines: Vec<&str> = kernel.defines.iter().copied().chain([cx.a()]).collect();
        let variant = cx.variant(kernel.stem, &defines)?;
        let groups = [queries.div_ceil(kernel.rows) as u32, (batch * self.heads) as u32, 1];
        cx.dispatch(variant, &[], params, bindings, groups);
        Ok(())
    }
}
