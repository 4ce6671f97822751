//! Where letopis meets the world: the binary's modules, in the order a message travels.

pub mod channels;
pub mod http;
