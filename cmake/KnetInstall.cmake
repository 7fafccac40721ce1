# cmake --install build: the program, its pages and completions.
include(GNUInstallDirs)

install(TARGETS knet RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})

file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/man/*.[1-8])
foreach(page IN LISTS pages)
  string(REGEX MATCH "[1-8]$" section ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

set(completions ${PROJECT_SOURCE_DIR}/completions)
install(FILES ${completions}/knet.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME knet OPTIONAL)
install(FILES ${completions}/knet.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _knet OPTIONAL)
install(FILES ${completions}/knet.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d OPTIONAL)
