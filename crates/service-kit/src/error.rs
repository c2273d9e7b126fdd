//! Errors in words.

/// The error and what caused it, each once: the outer errors of some clients say little alone.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<_> = chain.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Nested {
        #[error("refused")]
        Inner,
        #[error("refused")]
        Transparent(#[source] Box<Nested>),
        #[error("can't connect")]
        Outer(#[source] Box<Nested>),
    }

    #[test]
    fn every_cause_is_told_once() {
        let error = Nested::Outer(Box::new(Nested::Transparent(Box::new(Nested::Inner))));
        assert_eq!(causes(&error), "can't connect: refused");
    }
}
