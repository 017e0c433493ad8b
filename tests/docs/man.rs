//! Manual pages out of the clap structs, the data beside them, and the prose in `man/src`.

use std::fmt::Write;

use clap::Command;
use clap_mangen::Man;
use vp::cli::args::{Entry, tools};
use vp::cli::env::VARIABLES;
use vp::cli::exit::shown;

/// Date of the release whose words these are: changes with the version, not with the day of the build.
const DATE: &str = "2026-11-22";

/// One page of section 1.
pub fn page(tool: Entry, prose: &str) -> String {
    let Entry { manual, mut command, .. } = tool;
    command.build();
    let mut page = title(manual.name, "1");
    heading(&mut page, "NAME");
    put(&mut page, &format!("{} \\- {}", text(manual.name), text(manual.purpose)));
    heading(&mut page, "SYNOPSIS");
    put(&mut page, &synopsis(&mut command));
    heading(&mut page, "EXAMPLES");
    let examples = manual.examples.iter();
    let examples = examples.map(|e| format!("{}:\n.PP\n.RS 4\n.EX\n{}\n.EE\n.RE", capital(e.does), text(e.line)));
    put(&mut page, &examples.collect::<Vec<_>>().join("\n.PP\n"));
    page.push_str(prose);
    page.push_str(&options(command));
    page.push_str(&environment(manual.variables()));
    heading(&mut page, "FILES");
    definitions(&mut page, manual.files.iter().copied());
    page.push_str(&exit_status());
    heading(&mut page, "SEE ALSO");
    let others = tools().into_iter().map(|other| other.manual.name).filter(|name| *name != manual.name);
    let others = others.map(|name| format!(".BR {} (1)", text(name))).collect::<Vec<_>>().join(" ,\n");
    put(&mut page, &format!("{others} ,\n.BR vp (7)"));
    page
}

/// The overview, section 7.
pub fn overview(prose: &str) -> String {
    let mut page = title("vp", "7");
    heading(&mut page, "NAME");
    put(&mut page, "vp \\- private pipes and file drops through firewalls");
    for line in prose.lines() {
        match line {
            r#".\" @tools"# => {
                for Entry { manual, .. } in tools() {
                    put(&mut page, &format!(".TP\n.BR {} (1)\n{}", text(manual.name), text(manual.purpose)));
                }
            }
            r#".\" @environment"# => page.push_str(&environment(VARIABLES.into_iter())),
            r#".\" @exit"# => page.push_str(&exit_status()),
            _ => put(&mut page, line),
        }
    }
    heading(&mut page, "SEE ALSO");
    let names = tools().iter().map(|tool| format!(".BR {} (1)", text(tool.manual.name))).collect::<Vec<_>>();
    put(&mut page, &format!("{} ,\n.BR vp\\-events (7)", names.join(" ,\n")));
    page
}

/// The page about `--json`, section 7.
pub fn events(prose: &str) -> String {
    let mut page = title("vp-events", "7");
    heading(&mut page, "NAME");
    put(&mut page, "vp\\-events \\- what the tools of vp write with \\-\\-json");
    page.push_str(prose);
    heading(&mut page, "SEE ALSO");
    put(&mut page, ".BR vp (7)");
    page
}

fn title(name: &str, section: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = String::from(".\\\" Made by `BLESS=1 cargo test --test docs`; edit man/src instead.\n");
    put(&mut page, &format!(".TH {} {section} {DATE} \"vp {version}\" \"vp manual\"", text(name)));
    page
}

/// clap's usage line, with the name set in bold.
fn synopsis(command: &mut Command) -> String {
    let usage = command.render_usage().to_string();
    let lines = usage.trim_start_matches("Usage: ").lines().map(|line| {
        let (name, words) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        format!(".B {}\n{}", text(name), text(words))
    });
    lines.collect::<Vec<_>>().join("\n.br\n")
}

/// clap_mangen's options, whose headings become subsections of one section.
fn options(command: Command) -> String {
    let headings: Vec<String> =
        command.get_arguments().filter_map(|a| a.get_help_heading()).map(str::to_owned).collect();
    let mut aliases: Vec<(String, Vec<String>)> = Vec::new();
    for argument in command.get_arguments() {
        let others = argument.get_visible_aliases().unwrap_or_default();
        if let (Some(long), false) = (argument.get_long(), others.is_empty()) {
            aliases.push((long.to_owned(), others.into_iter().map(str::to_owned).collect()));
        }
    }
    let mut page = Vec::new();
    Man::new(command).render_options_section(&mut page).expect("memory");
    let mut page = String::from_utf8(page).expect("text");
    for heading in headings {
        page = page.replace(&format!(".SH {}\n", heading.to_uppercase()), &format!(".SS {heading}\n"));
    }
    // clap_mangen leaves out the other names of an option, which --help shows.
    for (long, others) in aliases {
        let bold = |name: &str| format!("\\fB\\-\\-{}\\fR", text(name));
        let all: String = others.iter().map(|other| format!(", {}", bold(other))).collect();
        page = page.replacen(&bold(&long), &format!("{}{all}", bold(&long)), 1);
    }
    // A second paragraph of an option stays under its option.
    page.replace("\n\n", "\n.sp\n").replace("\n.br\n.sp\n.br\n", "\n.sp\n")
}

fn environment(variables: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let mut page = String::new();
    heading(&mut page, "ENVIRONMENT");
    definitions(&mut page, variables);
    page
}

/// The table of exit statuses, one row a line: the number, what it means, whether to try again.
fn exit_status() -> String {
    let mut page = String::new();
    heading(&mut page, "EXIT STATUS");
    for row in shown() {
        let retry = match row.retry.word() {
            "" => String::new(),
            "?" => " (trying again may help)".to_owned(),
            "no" => " (trying again does not help)".to_owned(),
            _ => " (try again)".to_owned(),
        };
        put(&mut page, &format!(".TP\n.B {}\n{}{retry}", text(row.code), text(row.meaning)));
    }
    page
}

fn definitions<'a>(page: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, meaning) in pairs {
        put(page, &format!(".TP\n.B {}\n{}", text(name), text(meaning)));
    }
}

fn heading(page: &mut String, name: &str) {
    put(page, &format!(".SH {name}"));
}

fn put(page: &mut String, lines: &str) {
    writeln!(page, "{lines}").expect("memory");
}

fn capital(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter();
    text(&first.chain(letters).collect::<String>())
}

/// Text that roff shows as it is.
fn text(plain: &str) -> String {
    let mut escaped = if plain.starts_with(['.', '\'']) { "\\&".to_owned() } else { String::new() };
    for letter in plain.chars() {
        match letter {
            '\\' => escaped.push_str("\\(rs"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            '~' => escaped.push_str("\\(ti"),
            '^' => escaped.push_str("\\(ha"),
            '`' => escaped.push_str("\\(ga"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
