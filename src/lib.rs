//! Where letopis meets the world: the binary's modules, in the order a message travels.

pub mod accounts;
pub mod app;
pub mod channels;
pub mod clock;
pub mod clocks;
pub mod command;
pub mod config;
pub mod engines;
pub mod http;
pub mod inbound;
pub mod leased;
pub mod media;
pub mod outbound;
pub mod pressure;
pub mod registrar;
pub mod roles;
pub mod routing;
pub mod shutdown;
pub mod snooze;
pub mod telemetry;
pub mod visitors;
