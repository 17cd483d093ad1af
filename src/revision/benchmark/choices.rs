//! What questions with choices have in common.

/// The letters of choices.
pub(super) const LETTERS: [char; 5] = ['A', 'B', 'C', 'D', 'E'];

/// The question behind its hint, and the choices by their letters, as LLaVA-1.5 asks.
pub(super) fn with_choices(hint: &str, question: &str, choices: &[String]) -> String {
    let hint = Some(hint).filter(|hint| !hint.is_empty()).map(|hint| format!("{hint}\n")).unwrap_or_default();
    let choices = choices.iter().zip(LETTERS).map(|(choice, letter)| format!("\n{letter}. {choice}"));
    format!("{hint}{question}{}", choices.collect::<String>())
}

/// The choice that an answer names, by VLMEvalKit's rules without a language model: a single letter among its words, or
/// the text of a single choice in an answer that is not much longer than all of them.
pub(super) fn matched(answer: &str, choices: &[String]) -> Option<usize> {
    let words = answer.replace(['.', '(', ')', '[', ']', ',', ':', ';', '!', '*', '#', '{', '}'], " ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let is_named = |choice: &usize| words.iter().any(|word| word.chars().eq([LETTERS[*choice]]));
    let named: Vec<usize> = (0..choices.len()).filter(is_named).collect();
    match named[..] {
        [choice] => return Some(choice),
        // Z stands for none of them.
        [] if words.contains(&"Z") => return None,
        _ => {}
    }
    let answer = answer.to_lowercase();
    let length: usize = choices.iter().map(|choice| choice.chars().count()).sum();
    if answer.chars().count() > 2 * length {
        return None;
    }
    let quoted: Vec<usize> =
        (0..choices.len()).filter(|choice| answer.contains(&choices[*choice].to_lowercase())).collect();
    match quoted[..] {
        [choice] => Some(choice),
        _ => None,
    }
}
