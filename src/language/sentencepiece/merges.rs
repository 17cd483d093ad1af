use tokenizers::models::bpe::Vocab;

use super::piece::{Kind, Piece};

/// Pieces that SentencePiece learns have 16 characters at most unless it is told otherwise; each place to cut a longer one
/// costs a lookup of its length.
const MAX_PIECE: usize = 1024;

/// All pairs of pieces that make a third: those of the highest score first, as the vocabulary was learned.
///
/// Where a piece can be cut in several ways, the shorter beginning comes first, as in the converter of `transformers`.
///
/// # Errors
///
/// For a piece that is longer than any that is learned.
pub(super) fn merges(pieces: &[Piece], vocabulary: &Vocab) -> Result<Vec<(String, String)>, String> {
    let is_normal =
        |text: &str| vocabulary.get(text).is_some_and(|id| pieces[*id as usize].kind == Kind::Normal);
    let mut merges: Vec<(f32, &str, &str)> = Vec::new();
    for (id, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Kind::Normal) {
        let text = piece.text.as_str();
        if text.len() > MAX_PIECE {
            return Err(format!("piece {id}: expected at most {MAX_PIECE} bytes, found {}", text.len()));
        }
        if piece.score.is_nan() {
            return Err(format!("piece {id}: expected a score, found {}", piece.score));
        }
        let cuts = text.char_indices().skip(1).map(|(cut, _)| text.split_at(cut));
        let pairs = cuts.filter(|(left, right)| is_normal(left) && is_normal(right));
        merges.extend(pairs.map(|(left, right)| (piece.score, left, right)));
    }
    // The sort is stable: pieces of one score keep their order, and the cuts of a piece theirs.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(merges.into_iter().map(|(_, left, right)| (left.to_string(), right.to_string())).collect())
}
