//! The house itself: layers as the design says, a README whose commands run, and nothing in the tree that should not be.

mod layers;
mod readme;
