//! Door C.
