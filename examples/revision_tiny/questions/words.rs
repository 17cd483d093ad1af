//! What can be said of a picture: its concept, captions, and questions with their answers. All of it is made from words
//! alone, in the words of the package `easy-vqa`.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

pub const COLOURS: [&str; 8] = ["black", "blue", "brown", "gray", "green", "red", "teal", "yellow"];
pub const SHAPES: [&str; 3] = ["circle", "rectangle", "triangle"];

/// Every answer there is.
pub const ANSWERS: [&str; 13] = [
    "yes",
    "no",
    "circle",
    "rectangle",
    "triangle",
    "black",
    "blue",
    "brown",
    "gray",
    "green",
    "red",
    "teal",
    "yellow",
];

/// Ways to say what a picture shows.
const CAPTIONS: [&str; 12] = [
    "a COLOUR SHAPE",
    "this is a COLOUR SHAPE",
    "the image contains a COLOUR SHAPE",
    "there is a COLOUR SHAPE in the image",
    "a SHAPE that is COLOUR",
    "the shape is a COLOUR SHAPE",
    "the SHAPE in the image is COLOUR",
    "one COLOUR SHAPE on a plain background",
    "a picture of a COLOUR SHAPE",
    "the color of the SHAPE is COLOUR",
    "a SHAPE, and its color is COLOUR",
    "the image shows a SHAPE of the color COLOUR",
];

const SHAPE_QUESTIONS: [&str; 4] = [
    "what shape is in the image?",
    "what shape does the image contain?",
    "what shape is present?",
    "what is the COLOUR shape?",
];
const COLOUR_QUESTIONS: [&str; 4] = [
    "what color is the shape?",
    "what is the color of the shape?",
    "what color is the SHAPE?",
    "what is the color of the SHAPE?",
];
/// Questions of yes or no; THING is "COLOUR shape" or "SHAPE".
const ASSERTING: [&str; 4] = [
    "is there a THING?",
    "is there a THING in the image?",
    "is a THING present?",
    "does the image contain a THING?",
];
const DENYING: [&str; 4] = [
    "is there not a THING?",
    "is there not a THING in the image?",
    "is no THING present?",
    "does the image not contain a THING?",
];

/// How often a picture of the package is asked each of the open questions, and how many of yes or no.
const OPEN_SHARE: f64 = 0.32;
const YES_OR_NO: usize = 7;

/// What a picture shows: one of eight colours, as one of three shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concept {
    pub colour: &'static str,
    pub shape: &'static str,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    YesNo,
    Shape,
    Colour,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    /// An index of [`ANSWERS`].
    pub answer: usize,
}

impl Question {
    pub fn new(text: impl Into<String>, answer: &str) -> Option<Self> {
        let answer = ANSWERS.iter().position(|known| *known == answer)?;
        Some(Self { text: text.into(), answer })
    }

    pub fn kind(&self) -> Kind {
        match self.answer {
            0..2 => Kind::YesNo,
            2..5 => Kind::Shape,
            _ => Kind::Colour,
        }
    }

    /// Whether it asks for what is not there.
    fn denies(&self) -> bool {
        self.text.contains(" not ") || self.text.starts_with("is no ")
    }

    /// What question and answer together say of the picture.
    fn says(&self) -> (Option<&'static str>, Option<&'static str>) {
        let named = |words: &[&'static str]| words.iter().copied().find(|word| self.names(word));
        let (colour, shape) = (named(&COLOURS), named(&SHAPES));
        match self.kind() {
            Kind::Colour => (COLOURS.into_iter().find(|word| *word == ANSWERS[self.answer]), shape),
            Kind::Shape => (colour, SHAPES.into_iter().find(|word| *word == ANSWERS[self.answer])),
            Kind::YesNo if (self.answer == 0) != self.denies() => (colour, shape),
            Kind::YesNo => (None, None),
        }
    }

    fn names(&self, word: &str) -> bool {
        self.text.split(|char: char| !char.is_alphabetic()).any(|part| part == word)
    }
}

impl Concept {
    pub fn all() -> impl Iterator<Item = Self> {
        COLOURS.into_iter().flat_map(|colour| SHAPES.into_iter().map(move |shape| Self { colour, shape }))
    }

    /// Its number among [`all`](Self::all).
    pub fn number(self) -> usize {
        Self::all().position(|concept| concept == self).expect("every concept is one of all")
    }

    /// What a picture shows, where its questions and their answers tell colour and shape.
    pub fn of(questions: &[Question]) -> Option<Self> {
        let said: Vec<_> = questions.iter().map(Question::says).collect();
        let colour = said.iter().find_map(|(colour, _)| *colour)?;
        let shape = said.iter().find_map(|(_, shape)| *shape)?;
        Some(Self { colour, shape })
    }

    fn fill(self, template: &str) -> String {
        template.replace("COLOUR", self.colour).replace("SHAPE", self.shape)
    }

    /// All captions.
    pub fn captions(self) -> impl Iterator<Item = String> {
        CAPTIONS.into_iter().map(move |template| self.fill(template))
    }

    /// One of its captions.
    pub fn caption(self, rng: &mut StdRng) -> String {
        self.fill(CAPTIONS.choose(rng).expect("there are captions"))
    }

    /// What a text may be about, in few words or in others.
    pub fn hint(self, rng: &mut StdRng) -> String {
        if rng.random_bool(0.5) { self.fill(CAPTIONS[0]) } else { self.caption(rng) }
    }

    /// As many questions of each kind as a picture of the package has, on average. Of those of yes or no, half are answered
    /// by yes, and this share asks for what is not there.
    pub fn questions(self, denying: f64, rng: &mut StdRng) -> Vec<Question> {
        let mut questions = Vec::new();
        for (templates, answer) in [(SHAPE_QUESTIONS, self.shape), (COLOUR_QUESTIONS, self.colour)] {
            for template in templates {
                if rng.random_bool(OPEN_SHARE) {
                    questions.push(Question::new(self.fill(template), answer).expect("a known answer"));
                }
            }
        }
        questions.extend((0..YES_OR_NO).map(|_| self.yes_or_no(denying, rng)));
        questions.sort_by(|a, b| a.text.cmp(&b.text));
        questions.dedup();
        questions.shuffle(rng);
        questions
    }

    fn yes_or_no(self, denying: f64, rng: &mut StdRng) -> Question {
        let is_yes = rng.random_bool(0.5);
        let denies = rng.random_bool(denying);
        // There are eight colours to ask for, and three shapes.
        let about_colour = rng.random_ratio(8, 11);
        let (words, own) = if about_colour { (&COLOURS[..], self.colour) } else { (&SHAPES[..], self.shape) };
        let word = match is_yes != denies {
            true => own,
            false => {
                let others: Vec<&'static str> = words.iter().copied().filter(|word| *word != own).collect();
                *others.choose(rng).expect("there are others")
            }
        };
        let thing = if about_colour { format!("{word} shape") } else { word.to_string() };
        let templates = if denies { DENYING } else { ASSERTING };
        let text = templates.choose(rng).expect("there are templates").replace("THING", &thing);
        Question::new(text, if is_yes { "yes" } else { "no" }).expect("a known answer")
    }
}

impl std::fmt::Display for Concept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.colour, self.shape)
    }
}
