//! Expressions of Prometheus, as far as the names in them: which series are read, in which functions, and by which labels.

/// Functions and aggregations that the files use.
const FUNCTIONS: [&str; 9] =
    ["histogram_quantile", "increase", "label_values", "max", "min", "min_over_time", "predict_linear", "rate", "sum"];

/// Functions without a series in them.
const CLOCKS: [&str; 1] = ["time"];

/// Functions of a range of time.
const OF_RANGES: [&str; 4] = ["increase", "min_over_time", "predict_linear", "rate"];

/// Words that a list of labels follows.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Number,
    Range,
    Symbol(char),
}

/// A series in an expression.
#[derive(Debug)]
pub struct Selector {
    pub name: String,
    /// Labels and the values that they are compared with.
    pub matchers: Vec<(String, String)>,
    /// The functions around it, the innermost last.
    pub functions: Vec<String>,
}

/// The names in an expression.
#[derive(Debug, Default)]
pub struct Expression {
    pub selectors: Vec<Selector>,
    /// Labels to group or to join by.
    pub labels: Vec<String>,
    /// Whether it compares with the values of an earlier time.
    pub has_offset: bool,
}

impl Expression {
    /// Fails with the first word that is neither a series nor known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let (mut found, mut functions, mut function) = (Self::default(), Vec::new(), None);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                Token::Symbol('(') => functions.push(function.take().unwrap_or_default()),
                Token::Symbol(')') => drop(functions.pop().ok_or("a parenthesis is closed that is not open")?),
                Token::Name(name) if BEFORE_LABELS.contains(&name.as_str()) => {
                    let end = at + end_of(&tokens[at..], ')')?;
                    found.labels.extend(names(&tokens[at..end]));
                    at = end;
                }
                Token::Name(name) if OPERATORS.contains(&name.as_str()) => found.has_offset |= name == "offset",
                Token::Name(name) if FUNCTIONS.contains(&name.as_str()) || CLOCKS.contains(&name.as_str()) => {
                    function = Some(name.clone());
                }
                Token::Name(_) if tokens.get(at) == Some(&Token::Symbol('(')) => {
                    return Err(format!("{token:?} is no function that is known here"));
                }
                Token::Name(name) => {
                    let matchers = match tokens.get(at) {
                        Some(Token::Symbol('{')) => {
                            let end = at + end_of(&tokens[at..], '}')?;
                            let matchers = matchers(&tokens[at..end]);
                            at = end;
                            matchers
                        }
                        _ => Vec::new(),
                    };
                    let functions: Vec<String> = functions.iter().filter(|name| !name.is_empty()).cloned().collect();
                    let needs_range = functions.last().is_some_and(|name| OF_RANGES.contains(&name.as_str()));
                    if needs_range != (tokens.get(at) == Some(&Token::Range)) {
                        return Err(format!("{name}: a range of time belongs into {OF_RANGES:?}, and nowhere else"));
                    }
                    found.selectors.push(Selector { name: name.clone(), matchers, functions });
                    // `label_values(series, label)`, which Grafana has.
                    if found.selectors.last().is_some_and(|it| it.functions == ["label_values"]) {
                        let end = at + end_of(&tokens[at..], ')')? - 1;
                        found.labels.extend(names(&tokens[at..end]));
                        at = end;
                    }
                }
                Token::Text(_) | Token::Number | Token::Range | Token::Symbol(_) => {}
            }
        }
        if functions.is_empty() { Ok(found) } else { Err("a parenthesis is open at the end".to_owned()) }
    }
}

/// The number of tokens up to and with this symbol.
fn end_of(tokens: &[Token], symbol: char) -> Result<usize, String> {
    let end = tokens.iter().position(|token| *token == Token::Symbol(symbol));
    end.map(|at| at + 1).ok_or_else(|| format!("{symbol} is missing"))
}

fn names(tokens: &[Token]) -> impl Iterator<Item = String> {
    tokens.iter().filter_map(|token| if let Token::Name(name) = token { Some(name.clone()) } else { None })
}

/// Every label with the text that follows it.
fn matchers(tokens: &[Token]) -> Vec<(String, String)> {
    let texts = tokens.iter().filter_map(|token| if let Token::Text(text) = token { Some(text.clone()) } else { None });
    names(tokens).zip(texts).collect()
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    let until =
        |from: usize, ends: &dyn Fn(char) -> bool| (from..chars.len()).find(|n| ends(chars[*n])).unwrap_or(chars.len());
    while let Some(&c) = chars.get(at) {
        let end;
        match c {
            '"' | '\'' => {
                end = until(at + 1, &|other| other == c) + 1;
                if end > chars.len() {
                    return Err("a text has no end".to_owned());
                }
                tokens.push(Token::Text(chars[at + 1..end - 1].iter().collect()));
            }
            '[' => {
                end = until(at, &|other| other == ']') + 1;
                tokens.push(Token::Range);
            }
            '0'..='9' => {
                end = until(at, &|other| !other.is_ascii_alphanumeric() && other != '.');
                tokens.push(Token::Number);
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                end = until(at, &|other| !other.is_ascii_alphanumeric() && other != '_' && other != ':');
                tokens.push(Token::Name(chars[at..end].iter().collect()));
            }
            _ => {
                end = at + 1;
                if !c.is_whitespace() {
                    tokens.push(Token::Symbol(c));
                }
            }
        }
        at = end;
    }
    Ok(tokens)
}
