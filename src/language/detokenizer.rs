use super::Tokenizer;

/// The text of tokens that come one by one: characters are complete, and stop strings are found across tokens.
///
/// A character may be spread over several tokens, and the text of a token may depend on those before it. Text is therefore
/// given out when no later token can change it: at the end of a character, and where no stop string may have begun. The
/// pieces together are what [`Tokenizer::decode`] makes of all tokens, up to a stop string; only of bytes that are no
/// characters there may be other replacement characters.
///
/// # Example
///
/// ```
/// use burn_revision::language::{Detokenizer, Tokenizer};
///
/// # fn main() -> burn_revision::Result<()> {
/// let tokenizer = Tokenizer::train(&["red apple"], 258)?;
/// let mut text = Detokenizer::new(&tokenizer, &["END"]);
/// let pieces: Vec<String> = tokenizer.encode("né END no").into_iter().map(|token| text.push(token)).collect();
/// // Of the two bytes of `é`, the first has no text yet.
/// assert_eq!(pieces[..4], ["n", "", "é", " "]);
/// assert_eq!((pieces.concat().as_str(), text.is_stopped()), ("né ", true));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    /// The last tokens whose text is out, which the text of the next may depend on, and those after them.
    tokens: Vec<u32>,
    /// How many of them are out.
    out: usize,
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
    is_stopped: bool,
}

/// Replacement characters at the end that no later token can mend: a character that lacks its last byte has three at most.
const BEYOND_MENDING: usize = 4;

impl<'a> Detokenizer<'a> {
    /// No text yet, which ends before the stop string that is complete first; empty ones stop nothing.
    pub fn new<S: AsRef<str>>(tokenizer: &'a Tokenizer, stops: &[S]) -> Self {
        let stops = stops.iter().map(|stop| stop.as_ref().to_string()).filter(|stop| !stop.is_empty());
        Self {
            tokenizer,
            tokens: Vec::new(),
            out: 0,
            stops: stops.collect(),
            held: String::new(),
            is_stopped: false,
        }
    }

    /// Takes the next token, and returns the text that is certain now and was not before; often none.
    ///
    /// After a stop string there is none any more.
    pub fn push(&mut self, token: u32) -> String {
        if self.is_stopped {
            return String::new();
        }
        self.tokens.push(token);
        let text = self.complete(false);
        self.until_stop(text, false)
    }

    /// The rest of the text: characters that the last tokens left incomplete, and what might have become a stop string.
    pub fn finish(&mut self) -> String {
        if self.is_stopped {
            return String::new();
        }
        let text = self.complete(true);
        self.until_stop(text, true)
    }

    /// Whether a stop string was found, so that there is nothing to add.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The text of tokens that are not out yet; without `force` only where its last character is complete.
    fn complete(&mut self, force: bool) -> String {
        let before = self.tokenizer.decode(&self.tokens[..self.out]);
        let now = self.tokenizer.decode(&self.tokens);
        if now == before && self.out > 0 {
            // Special tokens have no text, and none depends on them.
            self.tokens.truncate(self.out);
            return String::new();
        }
        let open = now.chars().rev().take_while(|end| *end == char::REPLACEMENT_CHARACTER).count();
        let is_complete = now.len() > before.len() && (open == 0 || open >= BEYOND_MENDING);
        let new = match now.strip_prefix(before.as_str()) {
            Some(new) if is_complete || force => new.to_string(),
            // What is out had been forced, and would be another character by now.
            None if is_complete || force => self.tokenizer.decode(&self.tokens[self.out..]),
            _ => return String::new(),
        };
        if !new.is_empty() {
            self.tokens.drain(..self.out);
            self.out = self.tokens.len();
        }
        new
    }

    /// Text up to a stop string, without an end that may be the beginning of one.
    fn until_stop(&mut self, text: String, is_last: bool) -> String {
        self.held += &text;
        let found = self.stops.iter().filter_map(|stop| {
            let at = self.held.find(stop.as_str())?;
            Some((at + stop.len(), at))
        });
        if let Some((_, at)) = found.min() {
            self.is_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let kept = if is_last { 0 } else { self.begun_stop() };
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// The length of the longest end of the held text that a stop string begins with.
    fn begun_stop(&self) -> usize {
        let ends = self.held.char_indices().map(|(at, _)| &self.held[at..]);
        let mut begun = ends.filter(|end| self.stops.iter().any(|stop| stop.starts_with(end)));
        begun.next().map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(tokenizer: &Tokenizer, tokens: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
        let mut text = Detokenizer::new(tokenizer, stops);
        let mut pieces: Vec<String> = tokens.iter().map(|token| text.push(*token)).collect();
        pieces.push(text.finish());
        (pieces, text.is_stopped())
    }

    fn bytes() -> Tokenizer {
        Tokenizer::train(&["a"], 258).unwrap()
    }

    proptest! {
        #[test]
        fn pieces_are_the_text(text in "(\\PC|<bos>){0,30}", merged in 258usize..290) {
            let tokenizer = Tokenizer::train(&["grinning face with tears of joy é 😂"], merged).unwrap();
            prop_assume!(!text.contains(char::REPLACEMENT_CHARACTER));
            let tokens = tokenizer.encode(&text);
            prop_assert_eq!(pieces(&tokenizer, &tokens, &[]).0.concat(), tokenizer.decode(&tokens));
        }

        #[test]
        fn text_ends_before_the_stop_string_that_is_complete_first(text in "[abé]{0,20}", one in "[abé]{1,3}", other in "[abé]{1,4}") {
            let tokenizer = bytes();
            let (found, is_stopped) = pieces(&tokenizer, &tokenizer.encode(&text), &[&one, &other]);
            let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
            let stop = |end: usize| [&one, &other].iter().filter_map(|stop| text[..end].find(stop.as_str())).min();
            let end = ends.filter_map(stop).next();
            prop_assert_eq!(found.concat(), &text[..end.unwrap_or(text.len())]);
            prop_assert_eq!(is_stopped, end.is_some());
        }
    }

    #[test]
    fn text_comes_as_soon_as_it_is_certain() {
        let tokenizer = bytes();
        let tokens = tokenizer.encode("é😂 the end");
        let (found, _) = pieces(&tokenizer, &tokens, &["the start"]);
        // "the " might begin "the start" until the "e".
        let expected = ["", "é", "", "", "", "😂", " ", "", "", "", "", "the e", "n", "d", ""];
        assert_eq!(found, expected);
    }

    #[test]
    fn bytes_that_are_no_character_do_not_hold_the_text_back() {
        let tokenizer = bytes();
        let first = tokenizer.encode("é")[0];
        let tokens: Vec<u32> = std::iter::repeat_n(first, 20).chain(tokenizer.encode("ok")).collect();
        let (found, _) = pieces(&tokenizer, &tokens, &[]);
        assert!(found[..6].concat().contains(char::REPLACEMENT_CHARACTER), "{found:?}");
        assert!(found.concat().ends_with("ok"), "{found:?}");
    }

    #[test]
    fn a_character_cut_off_by_the_end_is_shown_as_none() {
        let tokenizer = bytes();
        let (found, _) = pieces(&tokenizer, &tokenizer.encode("é")[..1], &[]);
        assert_eq!(found, ["", "\u{fffd}"]);
    }
}
