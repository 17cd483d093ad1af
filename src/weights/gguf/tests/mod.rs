mod reading;
mod refusing;
