//! What every tool that connects needs while it runs.

pub mod callers;
pub mod event_loop;
pub mod farewell;
pub mod joint;
pub mod news;
mod pauses;
mod reminder;
pub mod tool;

pub use news::News;
