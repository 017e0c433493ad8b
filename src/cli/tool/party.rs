//! What every tool that connects needs before it can: who we are, whom we know, where to meet.

use super::Context;
use crate::carrier::TlsClient;
use crate::cli::args::Connect;
use crate::cli::config;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::progress::Audience;
use crate::cli::proxy::ways;
use crate::cli::ready::Ready;
use crate::cli::report::{Fault, Level, Report, chain};
use crate::cli::roster::{Roster, everybody};
use crate::cli::trust;
use crate::cli::units::Patience;
use crate::cli::voice::{AsFault, Hears, Known, Voice};
use crate::identity::{Identity, PeerId};
use crate::names::{Address, AppName, Peers, RelayAddress, Scheme};
use crate::node::{Callers, Config, Kind, Wait};
use crate::run::client::Client;
use crate::run::tool::Tool;
use crate::run::way::Way;
use crate::session::{LANE_LIFE, Times};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// "For ever" where a machine wants a number: a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Who may call a tool.
pub(crate) struct Called {
    /// Whom to let call.
    pub by: Callers,
    /// How many of their sessions there may be at once.
    pub most: usize,
    /// Whether no other process of this key is to be called.
    pub exclusive: bool,
}

impl Called {
    /// Of a tool that only calls.
    pub(crate) fn nobody() -> Self {
        Self { by: Callers::Nobody, most: 0, exclusive: false }
    }
}

/// This party and its surroundings.
pub(crate) struct Party {
    /// Who we are.
    pub identity: Identity,
    /// Whom we know.
    pub peers: Peers,
    /// The same, to be read again.
    pub roster: Roster,
    /// Where to meet, and how to get there; at least one.
    pub relays: Vec<(RelayAddress, Way)>,
    /// Whom to believe, where a relay is reached by TLS.
    pub tls: Option<TlsClient>,
    /// How long to wait for a relay and for a peer.
    pub patience: Patience,
}

impl Party {
    /// Reads what the options and the environment name.
    ///
    /// # Errors
    /// Something is missing or malformed; the message names it.
    pub(crate) fn load(connect: &Connect, context: &Context) -> Result<Self, Fault> {
        let env = &context.env;
        let identity = config::key(connect.key.as_deref(), env)?;
        // What is wrong with the peers file is said before what is wrong with the relays.
        let relays = config::relay_addresses(&connect.relays, env);
        let ids = relays.iter().flat_map(|(relays, _)| relays).map(|relay| relay.id);
        let roster = Roster::load(connect.peers.clone(), env, ids.chain([identity.id()]).collect())?;
        let peers = roster.peers().clone();
        let (relays, proxy) = relays?;
        let mut relays = ways(connect, env, relays, proxy)?;
        let tls = trusted(connect, context, &mut relays)?;
        Ok(Self { identity, peers, roster, relays, tls, patience: connect.timeout })
    }

    /// Whom and what a person means by `PEER[:APP]`.
    ///
    /// # Errors
    /// It is malformed or not in the peers file, or it is nobody who could be called: this party itself, or a relay.
    pub(crate) fn address(&self, typed: &str) -> Result<Address, Fault> {
        let address = config::address(typed, &self.peers)?;
        let typed = printable(typed);
        if address.peer == self.identity.id() {
            let fault =
                Fault::new(Exit::Config, format!("{typed}: that is this party itself: its id is that of our own key"));
            return Err(fault.hint(match &address.name {
                Some(name) => format!("the line of {name} in the peers file needs the id of the other side"),
                None => "name the other side".to_owned(),
            }));
        }
        if self.relays.iter().any(|(relay, _)| relay.id == address.peer) {
            let fault =
                Fault::new(Exit::Config, format!("{typed}: that is the id of the relay, which receives nothing"));
            return Err(fault.hint("use the id that vp-keygen printed on the machine that receives"));
        }
        Ok(address)
    }

    /// Whom to let call: those named, else every peer we know.
    ///
    /// # Errors
    /// There is nobody: to wait for calls would be to wait for ever.
    pub(crate) fn callers(&self, from: Vec<PeerId>) -> Result<Callers, Fault> {
        let callers = if from.is_empty() { everybody(&self.peers) } else { Callers::Only(from.clone()) };
        if self.roster.is_nobody(&callers) { Err(self.nobody("--from", &from)) } else { Ok(callers) }
    }

    /// Of those that `option` names, or else the peers file, nobody could call: there are none, or only such as never do.
    pub(crate) fn nobody(&self, option: &str, named: &[PeerId]) -> Fault {
        let ids: Vec<PeerId> = match named {
            [] => self.peers.iter().map(|peer| peer.id).collect(),
            named => named.to_vec(),
        };
        let only = match ids.iter().all(|id| *id == self.identity.id()) {
            _ if ids.is_empty() => "nobody",
            true => "only this party itself",
            false => "only this party itself or a relay",
        };
        let fault = |why| Fault::new(Exit::Config, format!("nobody could call: {why}"));
        if !named.is_empty() {
            return fault(format!("{option} names {only}"))
                .hint("name the other side, by the id that its vp-keygen printed");
        }
        let place = self.peers.place();
        let why = place.map_or_else(|| self.peers.absence().to_owned(), |at| format!("{at} names {only}"));
        fault(format!("{why}, and there is no {option}"))
            .hint(format!("put a line NAME ID for whoever may into the peers file, or name the id with {option}"))
    }

    /// Warns of an application that is called as a peer is, where everybody may call it: whoever names peers knows what is an
    /// application. `alone` is the line that lets that peer alone.
    pub(crate) fn warn_of_namesake(&self, report: &Report, app: &AppName, alone: &str) {
        if self.peers.by_name(app.as_str()).is_some() {
            let text = format!("{app} is taken for the name of an application, and is also a peer's");
            report.say(Level::Warning, &text);
            report.advise(alone);
        }
    }

    /// The loop that a tool runs in.
    ///
    /// # Errors
    /// A relay's address asks for what this version cannot do, or the system gives no event queue.
    pub(crate) fn client(self, connect: &Connect, kind: Kind, called: Called) -> Result<Client, Fault> {
        let config = Config {
            identity: self.identity,
            kind,
            relays: self.relays.iter().map(|(relay, _)| relay.id).collect(),
            callers: called.by,
            callers_max: called.most,
            exclusive: called.exclusive,
            wait: wait(self.patience),
            times: Times {
                dead_time: connect.dead_time,
                resume_timeout: time_of(connect.resume_timeout),
                lane_life: LANE_LIFE,
            },
            seed: std::hash::RandomState::new().build_hasher().finish(),
        };
        Client::new(config, self.relays, self.tls)
            .map_err(|error| Fault::new(Exit::Failed, format!("cannot wait for events: {}", chain(&error))))
    }
}

/// Whom to believe, if one of these relays is reached by TLS. Where that is nobody, the others remain.
fn trusted(
    connect: &Connect,
    context: &Context,
    relays: &mut Vec<(RelayAddress, Way)>,
) -> Result<Option<TlsClient>, Fault> {
    let is_tls =
        |(relay, _): &(RelayAddress, Way)| matches!(relay.scheme, Some(Scheme::Tls | Scheme::Wss | Scheme::Https));
    let named = trust::of_options(connect)?;
    if named.is_some() || !relays.iter().any(is_tls) {
        return Ok(named);
    }
    trust::of_environment(&context.env).map(Some).or_else(|fault| {
        if relays.iter().all(is_tls) {
            return Err(fault);
        }
        relays.retain(|relay| !is_tls(relay));
        context.report.say(Level::Warning, &format!("relays by TLS are left out: {fault}"));
        fault.hints.iter().for_each(|hint| context.report.advise(hint));
        Ok(None)
    })
}

/// How long to wait for relay and peer.
pub(super) fn wait(timeout: Patience) -> Wait {
    match timeout.limit() {
        None => Wait::Forever,
        Some(Duration::ZERO) => Wait::No,
        Some(time) => Wait::AtMost(time),
    }
}

/// The same as a number: a century is for ever.
pub(super) fn time_of(patience: Patience) -> Duration {
    patience.limit().unwrap_or(FOR_EVER)
}

/// Runs a tool to its end and turns that into an exit status.
///
/// # Errors
/// The tool ended without success.
pub(super) fn drive<'v, T: Tool>(client: Client, tool: &mut T, mut voice: Voice<'v>) -> Result<Exit, Fault>
where
    Voice<'v>: Hears<T>,
    T::Error: AsFault,
{
    let end = client.run(tool, &mut |news| voice.hear_tool(&news)).map_err(|error| voice.fault(&error));
    voice.finish();
    end.map(|()| Exit::Done)
}

/// The voice of a tool that connects.
pub(super) fn voice<'a>(context: &'a Context, party: &Party, ready: Ready) -> Voice<'a> {
    for (_, text) in party.roster.conflicts() {
        context.report.say(Level::Warning, &text);
    }
    let (me, relays, patience) = (party.identity.id(), party.relays.len(), party.patience.limit());
    let known = Known { me, roster: &party.roster, relays, patience };
    Voice::new(&context.report, known, Some(ready), Audience::of_process(&context.report, &context.env))
}
