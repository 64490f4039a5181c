# Lists what was skipped inside test runs that CTest counts as passed, with the reasons, out of CTest's own log:
#   awk -f tools/skipped_tests.awk build/release/Testing/Temporary/LastTest.log
# A GoogleTest binary passes when all it did was skip; a script that exits with 77 says "SKIPPED: why".

/^[0-9]+\/[0-9]+ (Test|Testing): / { binary = $3 }

/^\[ RUN      \] / { reason = "" }
/: Skipped$/ { reading = 1; next }
reading && (/^$/ || /^\[  SKIPPED \]/) { reading = 0 }
reading { reason = reason (reason == "" ? "" : " ") $0; next }

# With a time it is the test itself; the list at the end of a binary repeats the names without one.
/^\[  SKIPPED \] .* \([0-9]+ ms\)$/ { add($4, reason) }
/^SKIPPED: / { add("", substr($0, 10)) }

function add(test, why) {
  lines[++count] = "    " binary (test == "" ? "" : ", " test) ": " (why == "" ? "no reason given" : why)
}

END {
  if (count == 0) {
    print "==> skipped tests: none"
    exit
  }
  print "==> skipped tests: " count
  for (i = 1; i <= count; ++i) print lines[i]
}
