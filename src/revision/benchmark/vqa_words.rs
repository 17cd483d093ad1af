//! How answers of VQA are made comparable, by the rules of its script (github.com/GT-Vision-Lab/VQA, `vqaEval.py`).

use std::collections::HashMap;
use std::sync::LazyLock;

const PUNCTUATION: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!',
];

/// Full stops that are removed from an answer at most: the script passes a flag of Python's `re` in place of a count.
const MOST_STOPS: usize = 32;

const NUMBERS: [&str; 11] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Words that get their apostrophes back where one of them is missing.
const CONTRACTIONS: &str = "\
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've \
    he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've \
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's \
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're \
    there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've \
    when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't \
    wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've";

static WITHOUT_APOSTROPHE: LazyLock<HashMap<String, &str>> = LazyLock::new(|| {
    let missing = CONTRACTIONS.split_whitespace().flat_map(|word| {
        word.match_indices('\'').map(move |(at, _)| (format!("{}{}", &word[..at], &word[at + 1..]), word))
    });
    // The script has this one the other way round.
    missing.chain([("somebody'd".to_string(), "somebodyd")]).collect()
});

/// The text on one line, without space around it.
pub(super) fn one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ").trim().to_string()
}

/// In lower case, with digits for numbers up to ten, and without articles and punctuation.
pub(super) fn normalised(text: &str) -> String {
    words(&without_punctuation(text))
}

fn without_punctuation(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let number = characters
        .windows(3)
        .any(|part| part[0].is_ascii_digit() && part[1] == ',' && part[2].is_ascii_digit());
    let removed =
        |mark: char| number || characters.windows(2).any(|pair| *pair == [mark, ' '] || *pair == [' ', mark]);
    let mut result = text.to_string();
    for mark in PUNCTUATION {
        result = result.replace(mark, if removed(mark) { "" } else { " " });
    }
    let mut stops = 0;
    let mut rest = result.chars().peekable();
    let mut kept = String::with_capacity(result.len());
    while let Some(character) = rest.next() {
        let is_stop = character == '.' && !rest.peek().is_some_and(char::is_ascii_digit);
        if is_stop && stops < MOST_STOPS {
            stops += 1;
        } else {
            kept.push(character);
        }
    }
    kept
}

fn words(text: &str) -> String {
    let text = text.to_lowercase();
    let words = text.split_whitespace().filter_map(|word| {
        let digits = NUMBERS.iter().position(|number| *number == word);
        let word = match digits {
            Some(number) => number.to_string(),
            None if word == "none" => "0".to_string(),
            None if ["a", "an", "the"].contains(&word) => return None,
            None => word.to_string(),
        };
        Some(WITHOUT_APOSTROPHE.get(&word).map_or(word, |whole| whole.to_string()))
    });
    words.collect::<Vec<_>>().join(" ")
}
