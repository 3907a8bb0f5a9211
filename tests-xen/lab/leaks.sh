leaks_before() { :; }
leaks_none() { :; }
