//! The commands of the program, one file each.

pub mod check;
pub mod completions;
pub mod erase;
pub mod health;
pub mod keys;
pub mod list;
pub mod migrate;
pub mod publish;
pub mod runs;
pub mod serve;
pub mod tail;
