//! The pictures and questions of the package `easy-vqa` 1.0 (MIT, Victor Zhou), read out of its wheel as it lies there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::pictures::{Picture, PictureSet};
use super::words::{ANSWERS, Concept, Question};

/// Where `fetch_easy_vqa.sh` puts the wheel.
pub const FOLDER: &str = "target/easy-vqa";
/// The version that the figures are of.
const VERSION: &str = "1.0";
/// Its pictures and questions, to train and to test.
const SIZES: [(&str, usize, usize); 2] = [("train", 4000, 38_575), ("test", 1000, 9_673)];

/// Reads the package, or says why it cannot be used.
pub fn load() -> Result<PictureSet, String> {
    let path = wheel()?;
    let in_wheel = |detail: String| format!("{}: {detail}", path.display());
    let file = File::open(&path).map_err(|error| in_wheel(error.to_string()))?;
    let mut archive = ZipArchive::new(file).map_err(|error| in_wheel(error.to_string()))?;
    let metadata = format!("easy_vqa-{VERSION}.dist-info/METADATA");
    if archive.by_name(&metadata).is_err() {
        return Err(in_wheel(format!("no {metadata}: another version than {VERSION}")));
    }
    let answers =
        String::from_utf8_lossy(&entry(&mut archive, "easy_vqa/data/answers.txt").map_err(in_wheel)?)
            .into_owned();
    if let Some(unknown) = answers.lines().find(|answer| !ANSWERS.contains(&answer.trim())) {
        return Err(in_wheel(format!("an answer that is not among the 13 known: {unknown:?}")));
    }
    let [train, test] = SIZES.map(|(split, pictures, questions)| {
        let split = read(&mut archive, split)?;
        let found: usize = split.iter().map(|picture| picture.questions.len()).sum();
        match (split.len(), found) {
            found if found == (pictures, questions) => Ok(split),
            (p, q) => {
                Err(format!("expected {pictures} pictures and {questions} questions, found {p} and {q}"))
            }
        }
    });
    Ok(PictureSet {
        source: format!("easy-vqa {VERSION}"),
        is_drawn: false,
        train: train.map_err(in_wheel)?,
        test: test.map_err(in_wheel)?,
    })
}

/// The wheel in its folder.
fn wheel() -> Result<PathBuf, String> {
    let folder = Path::new(FOLDER);
    let entries = std::fs::read_dir(folder).map_err(|_| format!("not in {FOLDER}"))?;
    let mut wheels: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .collect();
    wheels.sort();
    wheels.pop().ok_or_else(|| format!("no wheel in {FOLDER}"))
}

fn entry(archive: &mut ZipArchive<File>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut file = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    file.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

/// The pictures of a split in the order of their numbers, each with its questions.
fn read(archive: &mut ZipArchive<File>, split: &str) -> Result<Vec<Picture>, String> {
    let name = format!("easy_vqa/data/{split}/questions.json");
    let bytes = entry(archive, &name)?;
    let asked: Vec<(String, String, usize)> =
        serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))?;
    let mut questions: BTreeMap<usize, Vec<Question>> = BTreeMap::new();
    for (text, answer, picture) in asked {
        let question =
            Question::new(text, &answer).ok_or_else(|| format!("{name}: unknown answer {answer:?}"))?;
        questions.entry(picture).or_default().push(question);
    }
    let pictures = questions.into_iter().map(|(number, questions)| {
        let png = entry(archive, &format!("easy_vqa/data/{split}/images/{number}.png"))?;
        let concept = Concept::of(&questions);
        Picture::new(format!("{split}-{number}"), png, concept, questions)
    });
    pictures.collect()
}
