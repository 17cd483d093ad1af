//! The functions: by name for sessions, and as expressions for data frames.

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::{centroid, combine, moments, realign as map};

macro_rules! function {
    ($static:ident: $kind:ident = $function:expr, $(#[$doc:meta])* $name:ident($($argument:ident),+)) => {
        static $static: LazyLock<Arc<$kind>> = LazyLock::new(|| Arc::new($kind::new_from_impl($function)));

        $(#[$doc])*
        pub fn $name($($argument: Expr),+) -> Expr {
            $static.call(vec![$($argument),+])
        }
    };
}

function!(MOMENTS: AggregateUDF = moments::ModalityMoments::new(false),
    /// `modality_moments(embedding, policy)`: the moments of the unit rows of a column; `policy` is a literal.
    ///
    /// ```
    /// use burn_revision_datafusion::modality_moments;
    /// use datafusion::prelude::{col, lit};
    ///
    /// let moments = modality_moments(col("embedding"), lit("skip"));
    /// assert_eq!(moments.to_string(), "modality_moments(embedding, Utf8(\"skip\"))");
    /// ```
    modality_moments(embedding, policy));
function!(COVARIANCE: AggregateUDF = moments::ModalityMoments::new(true),
    /// `modality_covariance(embedding, policy)`: the moments of the unit rows of a column with their covariance.
    modality_covariance(embedding, policy));
function!(MERGE: AggregateUDF = combine::MergeMoments::new(),
    /// `merge_moments(moments)`: the moments of all rows together, from those of parts.
    merge_moments(moments));
function!(STATISTICS: ScalarUDF = combine::AlignmentStatistics::new(),
    /// `alignment_statistics(text, image, method)`: the statistics of a method by its name, from the moments of both sets.
    alignment_statistics(text, image, method));
function!(CENTROID: AggregateUDF = centroid::RealignCentroid::new(),
    /// `realign_centroid(embedding, statistics)`: the statistics after a centroid pass over the texts of a column.
    realign_centroid(embedding, statistics));
function!(REALIGN: ScalarUDF = map::Realign::new(),
    /// `realign(embedding, statistics)`: embeddings moved among the images.
    realign(embedding, statistics));

/// The aggregate functions, for the sessions of an engine's workers, which look functions up by their names.
///
/// ```
/// use burn_revision_datafusion::{aggregates, scalars};
/// use datafusion::execution::SessionStateBuilder;
///
/// let mut builder = SessionStateBuilder::new_with_default_features();
/// builder.aggregate_functions().get_or_insert_default().extend(aggregates());
/// builder.scalar_functions().get_or_insert_default().extend(scalars());
/// let state = builder.build();
/// assert!(state.aggregate_functions().contains_key("modality_moments"));
/// assert!(state.aggregate_functions().contains_key("count"));
/// ```
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    [&MOMENTS, &COVARIANCE, &MERGE, &CENTROID].map(|function| Arc::clone(function)).to_vec()
}

/// The scalar functions; see [`aggregates`].
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    [&STATISTICS, &REALIGN].map(|function| Arc::clone(function)).to_vec()
}

/// Makes the functions known to a session.
///
/// ```
/// use datafusion::execution::FunctionRegistry;
/// use datafusion::prelude::SessionContext;
///
/// let ctx = SessionContext::new();
/// burn_revision_datafusion::register(&ctx);
/// assert!(ctx.udaf("modality_moments").is_ok());
/// ```
pub fn register(ctx: &SessionContext) {
    aggregates().iter().for_each(|function| ctx.register_udaf(function.as_ref().clone()));
    scalars().iter().for_each(|function| ctx.register_udf(function.as_ref().clone()));
}
