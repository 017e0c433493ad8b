//! One open circuit as the relay sees it: what waits in it, how much may come, and how much its path carries.

pub(super) mod age;
pub(super) mod end;
pub(super) mod outward;
pub(super) mod rate;
pub(super) mod standstill;
pub(super) mod throughput;
pub(super) mod window;
