//! The circuits of a link: what waits in each, how much more may come, and how much its path carries.

pub(super) mod age;
pub(super) mod end;
pub(super) mod inward;
pub(super) mod late;
pub(super) mod outward;
pub(super) mod standstill;
pub(super) mod table;
pub(super) mod throughput;
pub(super) mod vain;
pub(super) mod window;
