mod in_blocks;
mod models;
mod mutations;
mod small;
mod tokenizing;
