//! Orders that came before the link they are for: it is on its way from another worker.

use super::LinkId;
use super::router::Order;
use std::collections::HashMap;

/// So many links more than last time, or twice as many, make it worth while to look which of them still come.
const LOOK_AFTER: usize = 16;

/// See the module. A link that is lost on its way, or moves on, leaves its orders here until somebody looks.
#[derive(Debug, Default)]
pub(super) struct Early {
    by_link: HashMap<LinkId, Vec<Order>>,
    /// For how many links there were some after the last look.
    kept: usize,
}

impl Early {
    /// Keeps an order for a link that comes. Whether it is time to look which links do.
    pub(super) fn keep(&mut self, order: Order) -> bool {
        self.by_link.entry(order.link).or_default().push(order);
        self.by_link.len() > self.kept + self.kept.max(LOOK_AFTER)
    }

    /// Takes those for a link that has come.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<Order> {
        self.by_link.remove(&link).unwrap_or_default()
    }

    /// Takes those for links that do not come.
    pub(super) fn take_lost(&mut self, comes: impl Fn(LinkId) -> bool) -> Vec<Order> {
        let lost = self.by_link.extract_if(|link, _| !comes(*link)).flat_map(|(_, orders)| orders).collect();
        self.kept = self.by_link.len();
        lost
    }

    /// For how many links there are some.
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
