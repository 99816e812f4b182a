module steps

go 1.21
