//! Door A.
