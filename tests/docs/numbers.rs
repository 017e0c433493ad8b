//! Numbers that DESIGN.md gives with the name of a constant are what the constant is.

use super::{files_below, read, root};
use std::collections::BTreeMap;
use std::fs;

/// Names of constants and what stands behind their `=`. Several files may have one of the same name.
struct Constants(BTreeMap<String, Vec<String>>);

impl Constants {
    fn of(code: &str) -> Constants {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in code.lines().filter(|line| line.ends_with(';')) {
            let Some((before, rest)) = line.split_once("const ") else { continue };
            let Some((name, rest)) = rest.split_once(':').filter(|_| !before.contains("//")) else { continue };
            let Some((_, value)) = rest.split_once(" = ") else { continue };
            found.entry(name.to_owned()).or_default().push(value.trim_end_matches(';').to_owned());
        }
        Constants(found)
    }

    /// What a constant may be: bytes or a count, or nanoseconds.
    fn values(&self, name: &str) -> Vec<u64> {
        self.0.get(name).into_iter().flatten().filter_map(|text| self.value(text)).collect()
    }

    /// The value of a sum, a product, a shift, or a span of time.
    fn value(&self, text: &str) -> Option<u64> {
        let call = |name| text.strip_suffix(')').and_then(|text| text.split_once(name));
        if let Some((one, rest)) = call(".saturating_add(") {
            return Some(self.value(one)? + self.value(rest)?);
        }
        if let Some((one, factor)) = call(".saturating_mul(") {
            return Some(self.value(one)? * self.value(factor)?);
        }
        let units = [("from_secs", 1_000_000_000), ("from_millis", 1_000_000), ("micros", 1_000)];
        if let Some((call, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            let unit = units.iter().find(|(name, _)| call.ends_with(name))?.1;
            return Some(self.value(inner)? * unit);
        }
        if let Some((one, rest)) = text.split_once(" + ") {
            return Some(self.value(one)? + self.value(rest)?);
        }
        if let Some((factor, rest)) = text.rsplit_once(" * ") {
            return Some(self.value(factor)? * self.value(rest)?);
        }
        if let Some((value, bits)) = text.split_once(" << ") {
            return Some(self.value(value)? << self.value(bits)?);
        }
        text.replace('_', "").parse().ok().or_else(|| self.values(text).first().copied())
    }
}

/// The last number of a text that ends with it, with its unit, as bytes or a count, or as nanoseconds.
fn number_at_end(text: &str) -> Option<u64> {
    let (before, unit) = text.rsplit_once(' ').unwrap_or(("", text));
    let scale = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        count => return count.replace(',', "").parse().ok(),
    };
    Some(scale * before.rsplit(' ').next()?.parse::<u64>().ok()?)
}

/// What a text says constants are: a number before a name in brackets, or behind a name and a comma.
fn claims(text: &str) -> Vec<(String, u64)> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = text.split('`').collect();
    let is_name = |word: &str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let mut found = Vec::new();
    for (at, name) in parts.iter().enumerate().skip(1).step_by(2).filter(|(_, name)| is_name(name)) {
        let before = parts[at - 1].strip_suffix(" (").and_then(number_at_end);
        let behind = parts.get(at + 1).and_then(|text| text.strip_prefix(", ")).map(|text| {
            let words: Vec<_> = text.splitn(3, [' ', ';', ',']).take(2).collect();
            words.join(" ")
        });
        found.extend(before.or_else(|| number_at_end(&behind?)).map(|number| ((*name).to_owned(), number)));
    }
    found
}

#[test]
fn numbers_of_the_design_are_the_constants_that_it_names() {
    let mut files = Vec::new();
    files_below(&root().join("src"), &mut files);
    let code: Vec<_> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let constants = Constants::of(&code.join("\n"));
    let claims = claims(&read("DESIGN.md"));
    assert!(claims.len() > 25, "the scan found {claims:?}");
    for (name, number) in claims {
        let values = constants.values(&name);
        assert!(values.contains(&number), "{name} is {values:?}, not {number}");
    }
}

#[test]
fn a_number_is_found_before_its_constant_and_behind_it() {
    let constants = Constants::of(
        "const A_MAX: usize = 2 << 20;\n    pub(crate) const BIG: u32 = 4 * 1_024 * A_MAX;\nconst WAIT: Duration = Duration::from_secs(10 * 60);\nconst LATE: Duration = WAIT.saturating_add(WAIT.saturating_mul(2));\n",
    );
    assert_eq!(constants.values("BIG"), [4 * 1024 * (2 << 20)]);
    assert_eq!(constants.values("LATE"), [3 * 600_000_000_000]);
    let text = "up to 2\nMiB (`A_MAX`), | `WAIT`, 10 min with a path; `WAIT`; 7 (`a_max`) 2,048 (`BIG`)";
    let found = [("A_MAX", 2 << 20), ("WAIT", 600_000_000_000), ("BIG", 2048)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(claims(text), found);
    assert!(constants.values("A_MAX").contains(&(2 << 20)) && constants.values("WAIT").contains(&600_000_000_000));
}
