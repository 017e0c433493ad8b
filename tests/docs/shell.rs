//! Finds our command lines in shell text: enough of the shell's grammar for documentation, no more.

use vp::cli::args::tools;

/// The code blocks of a Markdown text, but for those marked `text`, which show output or grammar.
pub fn code_blocks(markdown: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut inside: Option<(bool, String)> = None;
    for line in markdown.lines() {
        let fence = line.trim_start().strip_prefix("```");
        inside = match (inside, fence) {
            (None, Some(kind)) => Some((kind.trim() != "text", String::new())),
            (None, None) => None,
            (Some((wanted, block)), Some(_)) => {
                blocks.extend(wanted.then_some(block));
                None
            }
            (Some((wanted, block)), None) => Some((wanted, block + line + "\n")),
        };
    }
    blocks
}

/// Every command of ours in a shell text, as words, wherever it stands: in a pipeline, after assignments, in `$(…)`,
/// or quoted as an argument of another program. What has to be expanded first is left as it is written.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in text.lines() {
        for simple in simple_commands(line.trim_start().trim_start_matches("$ ")) {
            ours(&simple, &mut found);
        }
    }
    found
}

fn ours(words: &[String], found: &mut Vec<Vec<String>>) {
    let start = words.iter().position(|word| is_tool(word));
    if let Some(start) = start.filter(|start| words[..*start].iter().all(|word| is_prefix(word))) {
        let name = words[start].rsplit('/').next().unwrap_or_default().to_owned();
        found.push([vec![name], words[start + 1..].to_vec()].concat());
    }
    // A command inside a word: a substitution, or an argument that another program will run.
    for word in words {
        let inner = match word.find("$(") {
            Some(at) => word[at + 2..].trim_end_matches(')'),
            None if word.contains(' ') => &word[word.find("vp-").unwrap_or(word.len())..],
            None => continue,
        };
        found.extend(commands(inner));
    }
}

fn is_tool(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    tools().iter().any(|tool| tool.manual.name == name)
}

/// What may stand before a command: assignments, and words that run the rest.
fn is_prefix(word: &str) -> bool {
    let keyword = ["sudo", "env", "exec", "time", "nohup", "!", "if", "while", "until", "then", "do", "else", "{", "("];
    word.contains('=') || keyword.contains(&word)
}

/// Splits a line at `|`, `&`, `;` and comments, removes redirections, and takes quotes off.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut skip_next = false;
    for token in tokens(line) {
        match token {
            Token::Separator => commands.push(Vec::new()),
            Token::Redirection => skip_next = true,
            Token::Word(_) if skip_next => skip_next = false,
            Token::Word(word) => commands.last_mut().expect("never empty").push(word),
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

enum Token {
    Word(String),
    Separator,
    Redirection,
}

fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' => tokens.extend(word.take().map(Token::Word)),
            '#' if word.is_none() => break,
            '|' | ';' | '&' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Separator);
            }
            '<' | '>' => {
                // A number right before it is the descriptor, not a word of the command.
                let number = word.as_ref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
                tokens.extend(word.take().filter(|_| !number).map(Token::Word));
                while letters.next_if(|next| matches!(next, '<' | '>' | '&')).is_some() {}
                tokens.push(Token::Redirection);
            }
            '\'' | '"' => {
                let quoted: String = letters.by_ref().take_while(|next| *next != letter).collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '$' if letters.peek() == Some(&'(') => {
                word.get_or_insert_default().push('$');
                substitution(&mut letters, word.get_or_insert_default());
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

/// Takes `(…)` up to the parenthesis that closes it.
fn substitution(letters: &mut impl Iterator<Item = char>, word: &mut String) {
    let mut depth = 0;
    for letter in letters {
        word.push(letter);
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if depth == 0 {
            return;
        }
    }
}
