//! What LyCORIS calls the tensors of its kinds (`weight_list` of each of `lycoris/modules`), behind kohya's names of layers.

use super::Ending;
use crate::patches::kind::Piece::*;

pub const ENDINGS: &[Ending] = &[
    (".hada_w1_a", HadamardA1),
    (".hada_w1_b", HadamardB1),
    (".hada_w2_a", HadamardA2),
    (".hada_w2_b", HadamardB2),
    (".hada_t1", HadamardT1),
    (".hada_t2", HadamardT2),
    (".lokr_w1", Kronecker1),
    (".lokr_w1_a", KroneckerA1),
    (".lokr_w1_b", KroneckerB1),
    (".lokr_w2", Kronecker2),
    (".lokr_w2_a", KroneckerA2),
    (".lokr_w2_b", KroneckerB2),
    (".lokr_t2", KroneckerT2),
    (".on_input", OnInput),
    (".diff", Difference),
    (".diff_b", BiasDifference),
    (".w_norm", NormWeight),
    (".b_norm", NormBias),
    (".a1.weight", A1),
    (".a2.weight", A2),
    (".b1.weight", B1),
    (".b2.weight", B2),
    (".bm.weight", BMid),
    (".oft_blocks", Blocks),
    (".oft_diag", Rotations),
    (".rescale", Rescale),
    (".dora_scale", Magnitudes),
    (".alpha", Alpha),
    (".scale", Scale),
];
