//! What came before the link that it is for: that is on its way from another worker.

use super::LinkId;
use super::across::Message;
use super::router::Order;
use std::collections::HashMap;

/// So many links more than last time, or twice as many, make it worth while to look which of them still come.
const LOOK_AFTER: usize = 16;

/// Something that waits for a link.
#[derive(Debug)]
pub(super) enum Kept {
    /// From the router.
    Order(Order),
    /// For an end that an order before it opens: no more than that end's first window, and charged as it was read. Whoever
    /// pays for it has it under way for so long.
    Told(Message),
}

impl Kept {
    /// The order, if it is one.
    pub(super) fn into_order(self) -> Option<Order> {
        match self {
            Kept::Order(order) => Some(order),
            Kept::Told(..) => None,
        }
    }
}

/// See the module. A link that is lost on its way, or moves on, leaves what is for it here until somebody looks.
#[derive(Debug, Default)]
pub(super) struct Early {
    by_link: HashMap<LinkId, Vec<Kept>>,
    /// For how many links there were some after the last look.
    kept: usize,
}

impl Early {
    /// Keeps an order for a link that comes. Whether it is time to look which links do.
    pub(super) fn keep(&mut self, order: Order) -> bool {
        self.by_link.entry(order.link).or_default().push(Kept::Order(order));
        self.by_link.len() > self.kept + self.kept.max(LOOK_AFTER)
    }

    /// Keeps what an end is told whose link comes; nothing for a link of which no order waits, for then it does not.
    pub(super) fn keep_told(&mut self, message: Message) {
        if let Some(kept) = self.by_link.get_mut(&message.to.link) {
            kept.push(Kept::Told(message));
        }
    }

    /// Takes what is for a link that has come, or does not.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<Kept> {
        self.by_link.remove(&link).unwrap_or_default()
    }

    /// Takes the orders for links that do not come. An end whose link goes elsewhere is open there, and was told nothing here.
    pub(super) fn take_lost(&mut self, comes: impl Fn(LinkId) -> bool) -> Vec<Order> {
        let lost = self.by_link.extract_if(|link, _| !comes(*link)).flat_map(|(_, kept)| kept);
        let lost = lost.filter_map(Kept::into_order).collect();
        self.kept = self.by_link.len();
        lost
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_link.is_empty()
    }

    /// For how many links there are some.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_link.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::router::What;
    use super::*;
    use crate::wire::CloseCode;

    fn order(link: u64) -> Order {
        Order { worker: 0, link: LinkId::new(link), what: What::End { code: CloseCode::Limit } }
    }

    #[test]
    fn many_links_on_their_way_are_looked_at_seldom_and_none_that_is_lost_for_long() {
        let (mut early, mut looks) = (Early::default(), 0);
        for n in 0..10_000 {
            if early.keep(order(n)) {
                looks += 1;
                assert!(early.take_lost(|_| true).is_empty());
            }
        }
        assert!((5..20).contains(&looks), "{looks}");
        assert_eq!(early.take_lost(|link| link.get() < 100).len(), 9900);
        for n in 0..10_000 {
            if early.keep(order(1_000_000 + n)) {
                early.take_lost(|link| link.get() < 100);
            }
            assert!(early.len() <= 2 * 100, "{}", early.len());
        }
        assert_eq!((early.take(LinkId::new(7)).len(), early.take(LinkId::new(7)).len()), (1, 0));
    }
}
