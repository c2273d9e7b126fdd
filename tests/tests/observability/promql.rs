//! What a PromQL expression names: metrics, labels, variables. It does not judge the expression;
//! promtool does that.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

/// Followed by labels in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const KEYWORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// Each time series selector.
    pub(crate) selectors: Vec<Selector>,
    /// Labels that something is grouped by or matched on.
    pub(crate) grouping: BTreeSet<String>,
    /// Grafana's variables, without the `$`.
    pub(crate) variables: BTreeSet<String>,
}

/// A metric and what its labels must be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The metric's name.
    pub(crate) metric: String,
    /// The part in braces.
    pub(crate) matchers: Vec<Matcher>,
}

/// One condition of a selector.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    /// The label.
    pub(crate) label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub(crate) operator: String,
    /// What stands in quotes.
    pub(crate) value: String,
}

impl Matcher {
    /// The values that it names, as far as they are plain text.
    pub(crate) fn values(&self) -> Vec<&str> {
        let alternatives = match self.operator.ends_with('~') {
            true => self.value.split('|').collect(),
            false => vec![self.value.as_str()],
        };
        let is_plain = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        alternatives.into_iter().filter(is_plain).collect()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Reads an expression, or the series of a sample in Prometheus' text format, which looks the same.
pub(crate) fn parse(expression: &str) -> Result<Query> {
    let mut query = Query::default();
    let tokens = tokens(expression, &mut query.variables)
        .with_context(|| format!("in the expression {expression}"))?;
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = after;
        match token {
            Token::Word(word) if BEFORE_LABELS.contains(&word.as_str()) => {
                if let [Token::Sign('('), after @ ..] = rest {
                    rest = labels(after, &mut query.grouping);
                }
            }
            Token::Word(word) if KEYWORDS.contains(&word.to_lowercase().as_str()) => {}
            Token::Word(word) => match rest {
                // A function, or an aggregation with its labels behind its name or at its end.
                [Token::Sign('('), ..] => {}
                [Token::Word(next), ..] if BEFORE_LABELS.contains(&next.as_str()) => {}
                [Token::Sign('{'), after @ ..] => {
                    let (matchers, after) = matchers(after)
                        .with_context(|| format!("in the labels of {word} in {expression}"))?;
                    query.selectors.push(Selector { metric: word.clone(), matchers });
                    rest = after;
                }
                _ => query.selectors.push(Selector { metric: word.clone(), matchers: Vec::new() }),
            },
            Token::Sign('{') => bail!("a selector without a metric's name in {expression}"),
            Token::Sign(_) | Token::Text(_) => {}
        }
    }
    Ok(query)
}

fn tokens(expression: &str, variables: &mut BTreeSet<String>) -> Result<Vec<Token>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut tokens = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word_len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let len = match first {
            '"' | '\'' => {
                let (text, len) = quoted(rest, first)?;
                variables.extend(variables_in(&text));
                tokens.push(Token::Text(text));
                len
            }
            '$' => {
                let len = 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1);
                variables.insert(rest[1..len].to_owned());
                len
            }
            // Numbers and durations name nothing.
            '0'..='9' => word_len,
            _ if word_len > 0 => {
                tokens.push(Token::Word(rest[..word_len].to_owned()));
                word_len
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[len..];
    }
    Ok(tokens)
}

/// The text in quotes at the start of `rest`, and the bytes that it takes with them.
fn quoted(rest: &str, quote: char) -> Result<(String, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            _ if c == quote => return Ok((text, at + 1)),
            _ => text.push(c),
        }
    }
    bail!("a quote is not closed: {rest}")
}

fn variables_in(text: &str) -> impl Iterator<Item = String> {
    text.split('$').skip(1).map(|after| {
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        after[..end.unwrap_or(after.len())].to_owned()
    })
}

/// Takes labels up to the closing parenthesis; gives what is behind it.
fn labels<'a>(mut rest: &'a [Token], into: &mut BTreeSet<String>) -> &'a [Token] {
    while let [token, after @ ..] = rest {
        rest = after;
        match token {
            Token::Word(label) => _ = into.insert(label.clone()),
            Token::Sign(')') => break,
            Token::Sign(_) | Token::Text(_) => {}
        }
    }
    rest
}

/// Takes matchers up to the closing brace; gives what is behind it.
fn matchers(mut rest: &[Token]) -> Result<(Vec<Matcher>, &[Token])> {
    let mut all = Vec::new();
    loop {
        let (label, operator, value, after) = match rest {
            [Token::Sign('}'), after @ ..] => return Ok((all, after)),
            [Token::Sign(','), after @ ..] => {
                rest = after;
                continue;
            }
            [Token::Word(label), Token::Sign('='), Token::Text(value), after @ ..] => {
                (label, "=".to_owned(), value, after)
            }
            [
                Token::Word(label),
                Token::Sign(a),
                Token::Sign(b),
                Token::Text(value),
                after @ ..,
            ] => (label, format!("{a}{b}"), value, after),
            _ => bail!("a matcher can't be read at {rest:?}"),
        };
        all.push(Matcher { label: label.clone(), operator, value: value.clone() });
        rest = after;
    }
}

#[test]
fn an_expression_names_its_metrics_labels_and_variables() -> Result<()> {
    let query = parse(
        r#"sum by (job) (rate(a_total{reason="x", instance=~"$sink"}[$__rate_interval])) > 0.9e3
             unless on (job, instance) group_left 26 * job:b:sum offset 5m or sum(c) without (le)"#,
    )?;
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    let selector = |metric: &str, matchers| Selector { metric: metric.to_owned(), matchers };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        query,
        Query {
            selectors: vec![
                selector(
                    "a_total",
                    vec![matcher("reason", "=", "x"), matcher("instance", "=~", "$sink")]
                ),
                selector("job:b:sum", vec![]),
                selector("c", vec![]),
            ],
            grouping: set(&["job", "instance", "le"]),
            variables: set(&["__rate_interval", "sink"]),
        }
    );
    assert_eq!(matcher("a", "!~", "x|y_2|z.*").values(), ["x", "y_2"]);
    assert!(parse(r#"sum({job="a"})"#).is_err());
    assert!(parse(r#"a{b="c}"#).is_err());
    Ok(())
}
