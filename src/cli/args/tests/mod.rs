//! What command lines parse to, and what help says.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::*;
use crate::cli::report::Verbosity;
use crate::cli::units::{Patience, Size};

fn parse<T: Parser>(line: &str) -> Result<T, ErrorKind> {
    T::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

/// Each of the lines is refused, for this reason.
fn refused<T: Parser>(lines: &[(&str, ErrorKind)]) {
    for (line, error) in lines {
        assert_eq!(parse::<T>(line).err(), Some(*error), "{line}");
    }
}

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    for Entry { manual, command, .. } in tools() {
        assert_eq!(manual.name, command.get_name());
        command.debug_assert();
    }
    Portrep::command().debug_assert();
}

#[test]
fn every_purpose_is_the_first_line_of_the_help() {
    for Entry { manual, command, .. } in tools() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let (first, rest) = about.split_at(1);
        assert_eq!(first.to_lowercase() + rest, manual.purpose, "{}", manual.name);
        let known = |name| crate::cli::env::VARIABLES.iter().any(|(variable, _)| *variable == name);
        assert!(manual.variables.iter().all(|name| known(*name)), "{}", manual.name);
    }
}

#[test]
fn the_short_help_is_short_and_the_long_one_begins_with_examples() {
    for Entry { manual, mut command, .. } in tools() {
        let short = command.render_help().to_string();
        let long = command.render_long_help().to_string();
        assert!(!short.contains("Exit status"), "{short}");
        let place = |text: &str| long.find(text).unwrap_or_else(|| panic!("{text} is not in {long}"));
        assert!(place("Usage:") < place("Examples:") && place("Examples:") < place("Options:"), "{}", manual.name);
        assert!(place("Options:") < place("Exit status (retry?):"), "{}", manual.name);
    }
}

#[test]
fn attach_dials_or_listens_but_not_both() {
    assert_eq!(
        parse::<Attach>("vp-attach depot:ssh").map(|a| a.to).as_ref().map(Option::as_deref),
        Ok(Some("depot:ssh"))
    );
    let listening = parse::<Attach>("vp-attach --listen ssh --from a --from b --keep --exec date").expect("it parses");
    assert_eq!(listening.from, ["a", "b"]);
    refused::<Attach>(&[
        ("vp-attach", ErrorKind::MissingRequiredArgument),
        ("vp-attach depot:ssh --listen ssh", ErrorKind::ArgumentConflict),
        ("vp-attach depot:ssh --from a", ErrorKind::ArgumentConflict),
        ("vp-attach depot:ssh --exec date", ErrorKind::ArgumentConflict),
        ("vp-attach --listen ssh --keep", ErrorKind::MissingRequiredArgument),
        ("vp-attach --listen a/b", ErrorKind::ValueValidation),
        ("vp-attach --listen ssh --send-only --recv-only", ErrorKind::ArgumentConflict),
    ]);
}

#[test]
fn send_takes_sources_and_then_one_address() {
    let send = parse::<Send>("vp-send a b/ - depot:in --compress 3 --limit 1M --wait 0").expect("it parses");
    assert_eq!(send.operands.sources.len(), 3);
    assert_eq!(send.operands.to, "depot:in");
    assert_eq!(send.compress, Compress::Level(3));
    assert_eq!(send.connect.timeout, Patience::For(Duration::ZERO));
    let plain = parse::<Send>("vp-send a depot --timeout 1s").expect("it parses");
    assert_eq!((plain.compress, plain.connect.timeout), (Compress::Auto, Patience::For(Duration::from_secs(1))));
    refused::<Send>(&[
        ("vp-send depot", ErrorKind::MissingRequiredArgument),
        ("vp-send a depot --compress 20", ErrorKind::ValueValidation),
        ("vp-send a depot --limit 0", ErrorKind::ValueValidation),
        ("vp-send a depot --relay relay.example:4433", ErrorKind::ValueValidation),
        ("vp-send a depot -q -v", ErrorKind::ArgumentConflict),
    ]);
}

#[test]
fn options_may_stand_between_the_words() {
    let send = parse::<Send>("vp-send - --name x.tar depot:in").expect("it parses").operands;
    assert_eq!((send.sources, send.to), (vec!["-".into()], "depot:in".to_owned()));
    let send = parse::<Send>("vp-send -q a --limit 1M b -v -- -c depot");
    assert_eq!(send.err(), Some(ErrorKind::ArgumentConflict));
    let send = parse::<Send>("vp-send a --limit 1M b -v -- -c depot").expect("it parses").operands;
    assert_eq!((send.sources.len(), send.to.as_str()), (3, "depot"));
}

#[test]
fn recv_has_defaults_that_lose_nothing() {
    let recv = parse::<Recv>("vp-recv").expect("it parses");
    assert_eq!((recv.app.as_str(), recv.overwrite), ("drop", Overwrite::Never));
    assert_eq!(recv.connect.timeout, Patience::Endless);
    assert_eq!(recv.connect.resume_timeout, Patience::For(Duration::from_secs(600)));
    assert_eq!(recv.connect.dead_time, Duration::from_secs(10));
    let service = parse::<Recv>("vp-recv orders -d in --keep --max-size 2G --overwrite rename").expect("it parses");
    assert_eq!((service.max_size, service.overwrite), (Some(Size(2 << 30)), Overwrite::Rename));
    refused::<Recv>(&[
        ("vp-recv --keep", ErrorKind::MissingRequiredArgument),
        ("vp-recv --overwrite yes", ErrorKind::MissingRequiredArgument),
        ("vp-recv --dead-time 0", ErrorKind::ValueValidation),
    ]);
}

#[test]
fn a_relay_must_be_told_whom_to_serve() {
    assert!(parse::<Relay>("vp-relay --listen 127.0.0.1:0 --listen [::1]:0 --open").is_ok());
    assert!(parse::<Relay>("vp-relay --allow peers --memory 64M --workers 2 --drain 0").is_ok());
    refused::<Relay>(&[
        ("vp-relay --listen 127.0.0.1:0", ErrorKind::MissingRequiredArgument),
        ("vp-relay --open --allow peers", ErrorKind::ArgumentConflict),
        ("vp-relay --open --listen localhost:1", ErrorKind::ValueValidation),
        ("vp-relay --open --workers 0", ErrorKind::ValueValidation),
    ]);
}

#[test]
fn keygen_makes_or_shows() {
    assert!(parse::<Keygen>("vp-keygen").is_ok());
    assert!(parse::<Keygen>("vp-keygen -o key --force").is_ok());
    refused::<Keygen>(&[
        ("vp-keygen --force", ErrorKind::MissingRequiredArgument),
        ("vp-keygen -y key -o other", ErrorKind::ArgumentConflict),
    ]);
}

#[test]
fn portrep_maps_or_checks() {
    let run = parse::<Portrep>("vp-portrep --import 5432=depot:pg --export a=1 --allow a=hq -- psql -h x")
        .expect("it parses");
    assert_eq!((run.mappings.imports.len(), run.mappings.run.len()), (1, 3));
    assert!(matches!(
        parse::<Portrep>("vp-portrep check depot:pg").map(|p| p.command),
        Ok(Some(PortrepCommand::Check(_)))
    ));
    refused::<Portrep>(&[
        ("vp-portrep", ErrorKind::MissingRequiredArgument),
        ("vp-portrep --import 5432", ErrorKind::ValueValidation),
    ]);
}

#[test]
fn a_relay_that_is_told_nothing_has_the_limits_that_the_documents_name() {
    use crate::relay::Limits;
    let relay = parse::<Relay>("vp-relay --open").expect("it parses");
    let told = [relay.most.max_links, relay.most.max_links_per_peer, relay.most.max_circuits_per_peer]
        .map(|number| number.get());
    let Limits { links, links_per_peer, circuits_per_peer } = Limits::default();
    assert_eq!(told.map(u64::from), [links as u64, links_per_peer as u64, circuits_per_peer.into()]);
}

#[test]
fn verbosity_follows_the_flags() {
    for (flags, verbosity) in
        [("", Verbosity::Normal), (" -q", Verbosity::Quiet), (" -v", Verbosity::Verbose), (" -vvv", Verbosity::Debug)]
    {
        let recv = parse::<Recv>(&format!("vp-recv{flags}")).expect("it parses");
        assert_eq!(recv.output().verbosity(), verbosity, "{flags}");
    }
}

#[test]
fn an_option_given_twice_is_no_mistake_in_any_tool() {
    const VALUES: [&str; 14] =
        ["1", "any", "/vp", "10.0.0.0/8", "1s", "1M", "yes", "keep", "v1", "a", "127.0.0.1:1", "a=1", "1=a:b", RELAY];
    const RELAY: &str = "vp1ue9ed36y33tfamjlx63y8f5qh5ymn23cj0wwe9w054v050y4l2js80fedd@relay.example";
    for Entry { manual, command, complaint } in tools() {
        let words =
            |words: &[String]| complaint(&[&[manual.name.to_owned()], words].concat()).map(|error| error.kind());
        let options = command
            .get_arguments()
            .filter(|option| !option.is_positional() && !matches!(option.get_id().as_str(), "help" | "version"));
        for option in options {
            let long = format!("--{}", option.get_long().expect("every option has a long name"));
            let values: &[&str] = if option.get_action().takes_values() { &VALUES } else { &[""] };
            let once = |value: &str| match value {
                "" => vec![long.clone()],
                value => vec![long.clone(), value.to_owned()],
            };
            let fits = |value: &&&str| {
                !matches!(words(&once(value)), Some(ErrorKind::ValueValidation | ErrorKind::InvalidValue))
            };
            let value = values.iter().find(fits).unwrap_or_else(|| panic!("{} {long}: no value", manual.name));
            let twice = [once(value), once(value)].concat();
            assert_eq!(words(&twice), words(&once(value)), "{} {twice:?}", manual.name);
        }
    }
    let check = parse::<Portrep>("vp-portrep check a:b --timeout 1s --timeout 2s --json --json");
    assert_eq!(check.err(), None);
}

#[test]
fn where_one_value_is_meant_the_last_one_is() {
    let line = "vp-recv -d a --directory b --overwrite yes --overwrite rename --wait 1s --timeout 0 --keep --keep --from x --from y";
    let recv = parse::<Recv>(line).expect("it parses");
    assert_eq!(recv.directory, Some("b".into()));
    assert_eq!(recv.overwrite, Overwrite::Rename);
    assert_eq!(recv.connect.timeout.limit(), Some(Duration::ZERO));
    assert_eq!(recv.from, ["x", "y"], "but several peers are several");
    assert_eq!(parse::<Attach>("vp-attach a b").err(), Some(ErrorKind::UnknownArgument), "an operand is no option");
}
