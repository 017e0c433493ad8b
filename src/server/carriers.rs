//! Which worker has the link that requests name: they come by connections of their own, which whoever accepts them does not know.

use crate::carrier::CarrierId;
use crate::relay::ConnId;
use foldhash::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A worker, and the connection that its link began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub worker: usize,
    pub conn: ConnId,
}

/// See the module. There are no more than links and connections whose clients have not said who they are.
#[derive(Debug, Default)]
pub(super) struct Carriers(Mutex<HashMap<CarrierId, At>>);

impl Carriers {
    /// Where it is, if there is one.
    pub(super) fn find(&self, id: CarrierId) -> Option<At> {
        self.by_id().get(&id).copied()
    }

    /// A link is here, until what comes back is dropped. None if there is one of this name.
    pub(super) fn enter(carriers: &Arc<Carriers>, id: CarrierId, at: At) -> Option<Entered> {
        let mut by_id = carriers.by_id();
        if by_id.contains_key(&id) {
            return None;
        }
        by_id.insert(id, at);
        Some(Entered { carriers: Arc::clone(carriers), id })
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<CarrierId, At>> {
        // It is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a link can be found.
#[derive(Debug)]
pub(super) struct Entered {
    carriers: Arc<Carriers>,
    id: CarrierId,
}

impl Entered {
    /// It is at this worker now.
    pub(super) fn move_to(&self, worker: usize) {
        if let Some(at) = self.carriers.by_id().get_mut(&self.id) {
            at.worker = worker;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.carriers.by_id().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_where_it_has_gone_and_no_more_once_it_has_ended() {
        let (carriers, id) = (Arc::default(), CarrierId::new([1; 16]));
        let conn = ConnId::new(7);
        let entered = Carriers::enter(&carriers, id, At { worker: 0, conn }).expect("it is the first");
        assert!(Carriers::enter(&carriers, id, At { worker: 1, conn }).is_none());
        entered.move_to(3);
        assert_eq!(carriers.find(id), Some(At { worker: 3, conn }));
        assert_eq!(carriers.find(CarrierId::new([2; 16])), None);
        drop(entered);
        assert_eq!(carriers.find(id), None);
    }
}
