mod models;
mod mutations;
mod small;
mod tokenizing;
