use crate::weights::PublishedNames;

/// What Hugging Face calls the weights of `BertModel`.
pub(in crate::encoder) struct BertNames {
    /// `bert.` or `roberta.` where the model is part of one with a head, else nothing.
    pub prefix: &'static str,
}

/// Names here, and what they are called there.
const NAMES: [(&str, &str); 9] = [
    ("embeddings.norm.", "embeddings.LayerNorm."),
    (".attention.q_proj.", ".attention.self.query."),
    (".attention.k_proj.", ".attention.self.key."),
    (".attention.v_proj.", ".attention.self.value."),
    (".attention.out_proj.", ".attention.output.dense."),
    (".attention_norm.", ".attention.output.LayerNorm."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
    (".mlp_norm.", ".output.LayerNorm."),
];

impl PublishedNames for BertNames {
    fn published(&self, path: &str) -> String {
        let name = NAMES.iter().find(|(here, _)| path.contains(here));
        let path = name.map_or(path.to_string(), |(here, there)| path.replacen(here, there, 1));
        format!("{}{path}", self.prefix)
    }

    fn is_optional(&self, name: &str) -> bool {
        // The layer behind the first token that BERT was trained with, and the numbers 0, 1, 2 and so on, are not of the
        // vector; the heads of other tasks stand beside a model with a prefix.
        let own = name.strip_prefix(self.prefix);
        own.is_none_or(|own| {
            own.starts_with("pooler.") || own.ends_with("position_ids") || own.ends_with("token_type_ids")
        })
    }
}
