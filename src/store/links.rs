//! What becomes of symbolic links in what is sent.

/// What to do with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// They are sent as links, but for those that lead out of what is sent, which are left out: at the receiver they would
    /// lead to something else, and it takes none.
    #[default]
    Keep,
    /// They are left out.
    Skip,
    /// What they lead to is sent in their place.
    Follow,
}

/// Links that a walk has left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftLinks {
    /// Which ones were to be.
    pub links: Links,
    /// How many.
    pub count: u64,
    /// The path of the first, any bytes.
    pub first: Vec<u8>,
}

impl LeftLinks {
    /// None yet.
    pub fn new(links: Links) -> Self {
        Self { links, count: 0, first: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, path: &[u8]) {
        if self.count == 0 {
            self.first = path.to_vec();
        }
        self.count += 1;
    }
}
