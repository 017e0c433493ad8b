//! Replicated ports: `vp-portrep` between real applications and real servers.

mod breaks;
mod ends;
mod floods;
mod mappings;
mod programs;
mod resets;
mod rmi;
mod rules;
mod service;
mod socks;
mod sql;
mod starts;
