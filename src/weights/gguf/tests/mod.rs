mod reading;
mod refusing;
mod writing;
