//! What a sender or receiver has to say while it runs, before it has words.

use super::Error;
use crate::identity::PeerId;
use crate::run;
use crate::store::attributes::Unkept;
use crate::store::links::LeftLinks;
use crate::store::omit::LeftOut;
use crate::tools::transfers::engine::Item;
use crate::tools::transfers::pump as engine;
use crate::transfer::outcome::{Failure, Unlike};
use crate::transfer::status::Counts;
use std::path::Path;
use std::time::Duration;

/// How a transfer ended.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    /// Items by their end, as far as it is known.
    pub counts: Counts,
    /// Items that could not even be offered.
    pub left_out: u32,
    /// Bytes of content that were moved, before compression.
    pub bytes: u64,
    /// From the first word to the last.
    pub took: Duration,
    /// Why it was no success.
    pub error: Option<&'a Error>,
}

/// What a person may want to know while it happens.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// What every tool has to say.
    Run(run::News<'a>),
    /// Progress of a transfer: bytes and items done, and in all where known.
    Progress {
        /// Bytes where they belong.
        bytes: u64,
        /// Those of them that were there before, or are holes.
        skipped: u64,
        /// Bytes in all.
        total: Option<u64>,
        /// Items where they belong, and in all where known.
        items: Option<(u64, Option<u64>)>,
        /// The present item, as bytes of unknown origin.
        name: &'a [u8],
    },
    /// One item of a transfer with this peer failed, or something went wrong with it afterwards. The others go on.
    ItemFailed(PeerId, &'a str, &'a Failure),
    /// The file system of this directory did not keep what came with some items.
    Unkept(&'a Path, Unkept),
    /// This lies in what is sent to this peer, and is left out. Of what is no key told only to who asked for each item.
    LeftOut(PeerId, &'a str, &'a LeftOut),
    /// Items were at the receiver with another mode or time than at the sender, and keep them.
    Unlike(PeerId, &'a str, &'a Unlike),
    /// These links of what is sent were left out.
    LinksLeftOut(&'a LeftLinks),
    /// One item of a transfer with this peer came to its end, well or not. Told only to who asked for each.
    Item(PeerId, &'a str, &'a Item),
    /// A transfer came to its end, well or not.
    Transferred(PeerId, &'a str, &'a Transfer<'a>),
    /// A session of a tool that goes on ended with a fault.
    SessionFailed(PeerId, &'a Error),
}

impl<'a> From<run::News<'a>> for News<'a> {
    fn from(news: run::News<'a>) -> News<'a> {
        News::Run(news)
    }
}

/// Tells people news of an engine that works for an application and this peer.
pub(crate) fn tell(of: &engine::News, whose: (PeerId, &str), news: &mut dyn FnMut(News<'_>)) {
    for left_out in &of.left_out {
        news(News::LeftOut(whose.0, whose.1, left_out));
    }
    for item in &of.items {
        news(News::Item(whose.0, whose.1, item));
    }
    for failure in &of.failures {
        news(News::ItemFailed(whose.0, whose.1, failure));
    }
    if let Some((place, what)) = &of.unkept {
        news(News::Unkept(place, *what));
    }
    if let Some(unlike) = &of.unlike {
        news(News::Unlike(whose.0, whose.1, unlike));
    }
    if let Some(links) = &of.left_links {
        news(News::LinksLeftOut(links));
    }
    if let Some(at) = &of.progress {
        news(News::Progress {
            bytes: at.bytes,
            skipped: at.bytes_skipped,
            total: at.bytes_total,
            items: Some((at.items, at.items_total)),
            name: &at.current,
        });
    }
}
