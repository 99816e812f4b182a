module smoke

go 1.25.0

require github.com/lib/pq v1.12.3

require steps v0.0.0

// The folder of all clients.
replace steps => ..
