package service

// PercentFor is the rule for GOGC.
var PercentFor = percentFor
