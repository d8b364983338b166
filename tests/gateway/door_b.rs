//! Door B.
