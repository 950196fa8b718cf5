# Pyfhel builds SEAL from source. By default that build downloads Microsoft GSL, zlib,
# Zstandard and Intel HEXL; none of them is needed here, and a build must not depend on
# a download. Used through the environment variable CMAKE_TOOLCHAIN_FILE.
set(SEAL_USE_MSGSL OFF CACHE BOOL "" FORCE)
set(SEAL_USE_ZLIB OFF CACHE BOOL "" FORCE)
set(SEAL_USE_ZSTD OFF CACHE BOOL "" FORCE)
set(SEAL_USE_INTEL_HEXL OFF CACHE BOOL "" FORCE)
