//! One command a file.

pub mod check;
pub mod health;
pub mod list;
pub mod migrate;
pub mod publish;
pub mod runs;
pub mod serve;
pub mod tail;
