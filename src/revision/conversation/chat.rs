use std::borrow::Cow;

use super::{Conversation, IMAGE_PLACEHOLDER, Sample, Template};
use crate::language::{ChatTemplate, Message, Tokenizer};
use crate::{Error, Result};

impl Template {
    /// The Jinja template of a chat format; `None` for the templates without roles.
    pub(super) fn chat_template(self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>> {
        match self {
            Self::Plain | Self::Completion => Ok(None),
            Self::Llama => Ok(Some(ChatTemplate::llama3())),
            Self::Chatml => Ok(Some(ChatTemplate::chatml())),
            Self::Chat => {
                let own = tokenizer.chat_template().cloned();
                own.map(Some)
                    .ok_or_else(|| self.error("the tokenizer came without a chat template of its own"))
            }
        }
    }

    pub(super) fn end_of_chat(self, template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<u32> {
        let mark = template.end().map_err(|error| self.error(detail(error)))?;
        match tokenizer.encode(mark)[..] {
            [end] => Ok(end),
            ref tokens => Err(self.error(format!(
                "{mark:?} ends an answer and should be one token of the tokenizer, but is {}",
                tokens.len()
            ))),
        }
    }

    /// The tokens of a conversation, or those that ask for its next answer.
    pub(super) fn chat(
        self,
        template: &ChatTemplate,
        conversation: &Conversation,
        tokenizer: &Tokenizer,
        prompt: bool,
    ) -> Result<Sample> {
        let fail = |detail: String| Error::sample(&conversation.id, detail);
        let end = self.end_of_chat(template, tokenizer)?;
        let turns = conversation.turns.iter();
        let messages: Vec<Message> =
            turns.map(|turn| Message::new(turn.from.into(), around_picture(&turn.value))).collect();
        let spans = if prompt { template.prompt(&messages) } else { template.answers(&messages) };
        let spans = spans.map_err(|error| fail(detail(error)))?;
        let shown: usize = spans.iter().map(|span| span.text.matches(IMAGE_PLACEHOLDER).count()).sum();
        let pictures = usize::from(conversation.image.is_some());
        if shown != pictures {
            return Err(fail(format!(
                "the template `{self}` was expected to leave <image> as it is and writes it {shown} times, not {pictures}"
            )));
        }
        let mut sample = Sample::empty(conversation);
        for span in spans {
            // The spans are one text, but for the picture: what follows it begins anew, as in LLaVA.
            let last = sample.tokens.last().copied();
            if !span.labelled {
                let (before, after) = span.text.split_once(IMAGE_PLACEHOLDER).unzip();
                sample.push(tokenizer.encode_after(last, before.unwrap_or(&span.text)), false);
                sample.show("", after, tokenizer);
                continue;
            }
            let answer = tokenizer.encode_after(last, &span.text);
            if answer.last() != Some(&end) {
                return Err(fail(format!(
                    "token {end} was expected to end an answer, found {:?} in {:?}",
                    answer.last(),
                    span.text
                )));
            }
            sample.push(answer, true);
        }
        Ok(sample)
    }
}

/// The text of a turn without white space around the picture, except for a newline before text on the next line.
fn around_picture(value: &str) -> Cow<'_, str> {
    let Some((before, after)) = value.split_once(IMAGE_PLACEHOLDER) else { return value.into() };
    let text = after.trim_start();
    let space = &after[..after.len() - text.len()];
    let newline = if !text.is_empty() && space.contains('\n') { "\n" } else { "" };
    format!("{}{IMAGE_PLACEHOLDER}{newline}{text}", before.trim_end()).into()
}

/// The detail of an error, without its file.
fn detail(error: Error) -> String {
    match error {
        Error::Config { key, detail } => format!("{key}: {detail}"),
        other => other.to_string(),
    }
}
