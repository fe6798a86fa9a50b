//! What the environment says, and what is random where it says nothing.
#![allow(dead_code)] // Each test program uses a part of it.

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::str::FromStr;

/// What a variable says, where it is set.
pub(crate) fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value}")))
}

/// The seed of a test, which `variable` gives again. It is printed, which cargo shows where the test fails.
pub(crate) fn seed(variable: &str) -> u64 {
    let seed = setting(variable).unwrap_or_else(rand::random);
    println!("{variable}={seed} repeats this run");
    seed
}

pub(crate) fn random(variable: &str) -> StdRng {
    StdRng::seed_from_u64(seed(variable))
}
