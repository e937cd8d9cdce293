// The activation functions, by the number that `graph::Activation` gives them.
override ACTIVATION: u32 = 0u;

// Abramowitz and Stegun 7.1.26 is good to 1.5e-7 only for the function itself; the form below (a degree-10
// rational of Numerical Recipes, section 6.2, erfc Chebyshev fit) holds 1.2e-7 relative everywhere.
fn erf1(x: f32) -> f32 {
    let z = abs(x);
    let t = 1.0 / (1.0 + 0.5 * z);
    let p = -z * z - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
        + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    let r = 1.0 - t * exp(p);
    return select(-r, r, x >= 0.0);
}
#ifdef VEC1
fn erf(x: FV) -> FV { return erf1(x); }
#else
fn erf(x: FV) -> FV { return vec4<f32>(erf1(x.x), erf1(x.y), erf1(x.z), erf1(x.w)); }
#endif

fn sigmoid(x: FV) -> FV { return FV(1.0) / (FV(1.0) + exp(-x)); }
fn silu(x: FV) -> FV { return x * sigmoid(x); }
fn gelu(x: FV) -> FV { return 0.5 * x * (FV(1.0) + erf(x * 0.7071067811865476)); }
// tanh overflows to NaN in some drivers for large arguments, so it is clamped where it is 1 already.
fn gelu_tanh(x: FV) -> FV {
    let u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return 0.5 * x * (FV(1.0) + tanh(clamp(u, FV(-15.0), FV(15.0))));
}
fn quick_gelu(x: FV) -> FV { return x * sigmoid(1.702 * x); }

fn activate(x: FV) -> FV {
    switch ACTIVATION {
        case 1u: { return silu(x); }
        case 2u: { return gelu(x); }
        case 3u: { return gelu_tanh(x); }
        case 4u: { return quick_gelu(x); }
        case 5u: { return max(x, FV(0.0)); }
        case 6u: { let s = FV(1.0) + exp(min(x, FV(20.0))); let e = log(s); return x * tanh(select(e, x, x > FV(20.0))); }
        default: { return x; }
    }
}
