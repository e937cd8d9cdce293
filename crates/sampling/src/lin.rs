//! Symbolic linear combinations, so that a sampler's code reads like its paper:
//! `let x0 = (x - e * sigma) / alpha;`.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// The registers of a program, of latent size; register 0 is the sample.
pub const REGISTERS: usize = 8;

/// What a new register may be made of: the old registers, then [`MODEL`], [`CLAMPED`], [`NOISE`] and [`UNCONDITIONAL`].
pub const BASIS: usize = REGISTERS + 4;

/// Basis index of the guided model output.
pub const MODEL: usize = REGISTERS;

/// Basis index of the clamped vector, zero where a step has no [`Clamp`](crate::Clamp).
pub const CLAMPED: usize = REGISTERS + 1;

/// Basis index of the fresh noise, zero where a step draws none.
pub const NOISE: usize = REGISTERS + 2;

/// Basis index of the unconditional model output; without guidance the output itself.
pub const UNCONDITIONAL: usize = REGISTERS + 3;

/// Coefficients of one vector over the basis, in f64.
pub type Coefs = [f64; BASIS];

/// A vector known by its coefficients over the registers, the model outputs, the clamped vector and the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lin(pub Coefs);

impl Lin {
    /// The zero vector.
    pub const ZERO: Lin = Lin([0.0; BASIS]);

    const fn unit(index: usize) -> Lin {
        let mut coefs = [0.0; BASIS];
        coefs[index] = 1.0;
        Lin(coefs)
    }

    /// The sample: register 0.
    pub const X: Lin = Lin::unit(0);
    /// The guided model output.
    pub const M: Lin = Lin::unit(MODEL);
    /// The clamped vector.
    pub const C: Lin = Lin::unit(CLAMPED);
    /// The unconditional model output; without guidance the output itself.
    pub const U: Lin = Lin::unit(UNCONDITIONAL);
    /// Fresh unit noise.
    pub const N: Lin = Lin::unit(NOISE);

    /// Register `index`, as it was before this step.
    pub const fn register(index: usize) -> Lin {
        Lin::unit(index)
    }

    /// The row that the executors get.
    pub fn row(self) -> [f32; BASIS] {
        self.0.map(|v| v as f32)
    }
}

impl Add for Lin {
    type Output = Lin;
    fn add(self, other: Lin) -> Lin {
        Lin(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for Lin {
    type Output = Lin;
    fn sub(self, other: Lin) -> Lin {
        self + other * -1.0
    }
}

impl Neg for Lin {
    type Output = Lin;
    fn neg(self) -> Lin {
        self * -1.0
    }
}

impl Mul<f64> for Lin {
    type Output = Lin;
    fn mul(self, k: f64) -> Lin {
        Lin(self.0.map(|v| if v == 0.0 { 0.0 } else { v * k }))
    }
}

impl Mul<Lin> for f64 {
    type Output = Lin;
    fn mul(self, v: Lin) -> Lin {
        v * self
    }
}

impl Div<f64> for Lin {
    type Output = Lin;
    fn div(self, k: f64) -> Lin {
        Lin(self.0.map(|v| if v == 0.0 { 0.0 } else { v / k }))
    }
}
