//! Whoever runs the tests as root tries out what others may not do, too.

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Does this without root's leave to open what its permissions forbid, which whoever runs tests may have.
pub(crate) fn without_privilege(work: impl FnOnce() + Send) {
    let unprivileged = || {
        let mut sets = capabilities(None).unwrap();
        let leave = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        sets.effective.remove(leave);
        // Nor may it be had: access(2) says of root what it could do if it took it.
        sets.permitted.remove(leave);
        set_capabilities(None, sets).unwrap(); // of this thread alone
        work();
    };
    std::thread::scope(|scope| scope.spawn(unprivileged).join()).unwrap();
}
